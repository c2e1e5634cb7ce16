package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"berth/store"
	"berth/workload"
)

// maxFiles bounds how many files of folders are looked at: a repository of 100,000
// deployment files is a folder that was not meant.
const maxFiles = 100_000

// skippedFolders are not looked into: what they have was not written by who deploys it.
// Folders whose names begin with a dot are skipped too, but for .github.
var skippedFolders = []string{"node_modules", "vendor", "__pycache__"}

// asked is what the arguments of check name.
type asked struct {
	images []string
	// readings are of files that were named, and of those in folders that are deployment
	// files.
	readings []*workload.Reading
	// folders are those that were looked through.
	folders []string
}

// asked sorts arguments: what exists as a file or a folder is one, "-" is standard input,
// all else an image.
func (a *app) asked(args []string, opts workload.Options, excluded []string) (*asked, error) {
	opts.ReadFile, opts.ReadDir = readFile, dirReader()
	var in asked
	for _, arg := range args {
		if arg == store.Standard {
			data, err := a.readStdin()
			if err != nil {
				return nil, err
			}
			in.named(workload.NewFile(workload.Stdin, data), opts)
			continue
		}
		info, err := os.Stat(arg)
		switch {
		case err == nil && info.IsDir():
			in.folders = append(in.folders, arg)
			if err := in.walk(arg, opts, excluded); err != nil {
				return nil, err
			}
		case err == nil:
			data, err := readFile(arg)
			if err != nil {
				return nil, err
			}
			in.named(workload.NewFile(arg, data), opts)
		case looksLikePath(arg):
			return nil, usageError{err}
		default:
			in.images = append(in.images, arg)
		}
	}
	return &in, nil
}

// looksLikePath tells a file that is not there from an image: "deploy/task.json" would be a
// reference too.
func looksLikePath(arg string) bool {
	for _, prefix := range []string{"./", "../", "/", ".\\", "~"} {
		if strings.HasPrefix(arg, prefix) {
			return true
		}
	}
	switch filepath.Ext(arg) {
	case ".json", ".yaml", ".yml", ".template", ".tf":
		return !strings.Contains(arg, ":")
	}
	return arg == "." || arg == ".."
}

func (a *app) readStdin() ([]byte, error) {
	if f, ok := a.stdin.(*os.File); ok && isTerminal(f) {
		return nil, usagef("-: standard input is a terminal: write … | berth check -, or the name of a file")
	}
	return readBounded(a.stdin, workload.Stdin)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no regular file", name))
	}
	return readBounded(f, name)
}

func readBounded(r io.Reader, name string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, workload.MaxFileSize+1))
	if err == nil && len(data) > workload.MaxFileSize {
		err = fmt.Errorf("%s: more than the %d MiB that are read of a deployment file", name, workload.MaxFileSize>>20)
	}
	return data, err
}

// dirReader returns a function that reads the names in a folder, each folder once: every
// file in it may ask.
func dirReader() func(name string) ([]string, error) {
	read := map[string][]string{}
	return func(name string) ([]string, error) {
		if names, ok := read[name]; ok {
			return names, nil
		}
		entries, err := os.ReadDir(name)
		if err != nil {
			return nil, err
		}
		names := make([]string, len(entries))
		for i, e := range entries {
			names[i] = e.Name()
		}
		read[name] = names
		return names, nil
	}
}

// named reads a file that an argument names: what it is must be told.
func (in *asked) named(f *workload.File, opts workload.Options) {
	r := workload.Read(f, opts)
	if r.Format == nil && len(r.Problems) == 0 {
		r.Problems = append(r.Problems, workload.Problem{
			Pos:     workload.Pos{File: f.Name},
			Message: "it is no deployment file that berth knows: " + formatTitles(),
		})
	}
	in.readings = append(in.readings, r)
}

// walk reads the deployment files of a folder.
func (in *asked) walk(folder string, opts workload.Options, excluded []string) error {
	seen := 0
	return filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			in.unread(name, err)
			if entry != nil && entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		relative, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir() && name != folder && (skipped(entry.Name()) || isExcluded(relative, excluded)):
			return filepath.SkipDir
		case !entry.Type().IsRegular() || !workload.Candidate(entry.Name()) || isExcluded(relative, excluded):
			return nil
		}
		if seen++; seen > maxFiles {
			return fmt.Errorf("%s has more than %d files that could be deployment files: name the folders that have them", folder, maxFiles)
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Size() > workload.MaxFileSize {
			return nil // no deployment file is: the largest are rendered plans
		}
		data, err := readFile(name)
		if err != nil {
			in.unread(name, err)
			return nil
		}
		if r := workload.Read(workload.NewFile(name, data), opts); r.Format != nil || len(r.Problems) > 0 {
			in.readings = append(in.readings, r)
		}
		return nil
	})
}

// unread keeps that something in a folder could not be read: the rest is looked at.
func (in *asked) unread(name string, err error) {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	in.readings = append(in.readings, &workload.Reading{
		File:     workload.NewFile(name, nil),
		Problems: []workload.Problem{{Pos: workload.Pos{File: name}, Message: "it cannot be read: " + err.Error()}},
	})
}

func skipped(folder string) bool {
	return strings.HasPrefix(folder, ".") && folder != ".github" || slices.Contains(skippedFolders, folder)
}

// isExcluded tells whether a path relative to a folder matches a pattern: one of package
// path, or a folder with all below it, "testdata/**".
func isExcluded(name string, patterns []string) bool {
	name = filepath.ToSlash(name)
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		below, all := strings.CutSuffix(pattern, "/**")
		if all && (name == below || strings.HasPrefix(name, below+"/")) {
			return true
		}
		ok, err := path.Match(pattern, name)
		return ok && err == nil // validated when the configuration was read
	})
}

func formatTitles() string {
	var titles []string
	for _, f := range workload.Formats() {
		titles = append(titles, f.Title)
	}
	return strings.Join(titles, ", ")
}
