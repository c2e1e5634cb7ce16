package binary

import (
	"errors"
	"strings"
	"testing"
)

func TestParseShebang(t *testing.T) {
	blanks := func(n int) string { return strings.Repeat(" ", n) }
	for _, c := range []struct {
		name, head  string
		interpreter string
		argument    string // "-" for none
		errno       string
	}{
		{"plain", "#!/bin/sh\n", "/bin/sh", "-", ""},
		{"without newline", "#!/bin/sh", "/bin/sh", "-", ""},
		{"carriage return", "#!/bin/sh\r\n", "/bin/sh\r", "-", ""},
		{"blanks around", "#! \t/bin/sh \t\n", "/bin/sh", "-", ""},
		{"one argument", "#!/bin/sh -e\n", "/bin/sh", "-e", ""},
		{"arguments are one", "#!/bin/sh  -e \t -u \n", "/bin/sh", "-e \t -u", ""},
		{"blank and no newline", "#!/bin/sh ", "/bin/sh", "", ""},
		{"NUL ends the name", "#!/bin/sh\x00 x\n", "/bin/sh", "-", ""},
		{"newline behind a NUL", "#!/bin/sh x\x00y\n", "/bin/sh", "x", ""},
		{"nothing", "#!", "", "-", ""},
		{"NUL alone", "#!\x00\n", "", "-", ""},
		{"newline", "#!\n/bin/sh\n", "", "", "ENOEXEC"},
		{"blanks and a newline", "#!  \t\n", "", "", "ENOEXEC"},
		{"all blanks", "#!" + blanks(300), "", "", "ENOEXEC"},
		{"name ends at the last byte", "#!" + blanks(250) + "/sh\n", "/sh", "-", ""},
		{"name may be cut", "#!" + blanks(251) + "/sh\n", "", "", "ENOEXEC"},
		{"name ends with a blank at the last byte", "#!" + blanks(250) + "/sh x\n", "/sh", "-", ""},
		{"argument is cut", "#!/sh " + strings.Repeat("x", 300), "/sh", strings.Repeat("x", 249), ""},
		{"no script", "echo", "", "", "ENOEXEC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseShebang([]byte(c.head), int64(len(c.head)))
			var refusal *Refusal
			if errors.As(err, &refusal) {
				if refusal.Errno != c.errno {
					t.Fatalf("%s: %s, want %q", refusal.Errno, refusal.Reason, c.errno)
				}
				return
			}
			if err != nil || c.errno != "" {
				t.Fatalf("%+v, %v, want errno %q", got, err, c.errno)
			}
			argument := "-"
			if got.HasArgument {
				argument = got.Argument
			}
			if got.Interpreter != c.interpreter || argument != c.argument {
				t.Errorf("%q with %q, want %q with %q", got.Interpreter, argument, c.interpreter, c.argument)
			}
		})
	}
}

func TestParseShebangNeedsWhatTheKernelReads(t *testing.T) {
	var need *NeedError
	if _, err := ParseShebang([]byte("#!/bin/sh\n"), 1000); !errors.As(err, &need) || need.Bytes != 256 {
		t.Errorf("a head of 10 of 1000 bytes: %v, want a need of 256", err)
	}
}

func FuzzParseShebang(f *testing.F) {
	for _, s := range []string{"#!/bin/sh\n", "#!", "#! \t\n", "#!/usr/bin/env -S x y\r\n", "#!\x00", "#!" + strings.Repeat(" ", 254), "#!" + strings.Repeat("x", 254)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		s, err := ParseShebang(head, int64(len(head)))
		if err != nil {
			return
		}
		// Both are parts of the first line, and neither has what ends it.
		line, _, _ := strings.Cut(string(head[:min(len(head), 256)]), "\n")
		if !strings.Contains(line, s.Interpreter) || !strings.Contains(line, s.Argument) || strings.ContainsAny(s.Interpreter, " \t\n\x00") || strings.ContainsAny(s.Argument, "\n\x00") {
			t.Errorf("%q is split into %q and %q", line, s.Interpreter, s.Argument)
		}
	})
}
