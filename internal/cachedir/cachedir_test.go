package cachedir

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// files are the names that a folder has.
func files(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func put(t *testing.T, d *Dir, name string, data []byte) {
	t.Helper()
	if err := d.Put(name, data); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, d *Dir, name string) []byte {
	t.Helper()
	data, err := d.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestPutGet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "by", "put")
	d := New(path, 0)
	if got := get(t, d, "a"); got != nil {
		t.Errorf("%q before anything was put", got)
	}
	put(t, d, "a", []byte("1"))
	put(t, d, "a", []byte("2"))
	if got := get(t, New(path, 0), "a"); string(got) != "2" {
		t.Errorf("%q", got)
	}
	if got := files(t, path); len(got) != 1 {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"", ".", "..", "a/b", `a\b`, "a.b", "tmp-1", "-a", string(bytes.Repeat([]byte("a"), 201))} {
		if err := d.Put(name, nil); err == nil {
			t.Errorf("put %q", name)
		}
		if _, err := d.Get(name); err == nil {
			t.Errorf("got %q", name)
		}
	}
}

// The oldest goes first, and what was read is young again. What is none of ours stays.
func TestRoom(t *testing.T) {
	path := t.TempDir()
	d := New(path, 100)
	age := func(name string, by time.Duration) {
		t.Helper()
		then := time.Now().Add(-by)
		if err := os.Chtimes(filepath.Join(path, name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	for _, foreign := range []string{"README.txt", "tmp-old", "tmp-new"} {
		if err := os.WriteFile(filepath.Join(path, foreign), make([]byte, 500), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	age("tmp-old", 2*stale)
	for i, name := range []string{"a", "b", "c"} {
		put(t, d, name, make([]byte, 30))
		age(name, time.Duration(10-i)*time.Minute)
	}
	get(t, d, "a")
	put(t, d, "d", make([]byte, 30))
	if got := fmt.Sprint(files(t, path)); got != "[README.txt a c d tmp-new]" {
		t.Error(got)
	}
	put(t, d, "large", make([]byte, 101))
	if got := get(t, d, "large"); got != nil {
		t.Errorf("%d bytes", len(got))
	}
}

// A folder is no file, and one that cannot be written is an error.
func TestForeign(t *testing.T) {
	path := t.TempDir()
	if err := os.Mkdir(filepath.Join(path, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := New(path, 0).Get("a"); got != nil || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(path, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(filepath.Join(path, "file"), 0).Put("a", nil); err == nil {
		t.Error("put into a file")
	}
}

// Readers see one of what writers wrote, whole, whoever removes what.
func TestAtOnce(t *testing.T) {
	path := t.TempDir()
	var group sync.WaitGroup
	for i := range 4 {
		d := New(path, 64<<10) // each as another process would
		group.Go(func() {
			for j := range 50 {
				name := fmt.Sprint("n", j%7)
				if err := d.Put(name, bytes.Repeat([]byte{byte(i)}, 10<<10)); err != nil {
					t.Error(err)
				}
				got, err := d.Get(name)
				if err != nil || len(got) != 0 && (len(got) != 10<<10 || len(bytes.Trim(got, string(got[:1]))) != 0) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	group.Wait()
}
