package cli

import (
	"fmt"
	"os"
	"strings"

	"berth/platform"
	"berth/target"
)

// needs reads the values of --for.
func (a *app) needs(names []string) ([]target.Need, error) {
	set, err := a.targetSet()
	if err != nil {
		return nil, err
	}
	var needs []target.Need
	for _, name := range names {
		need, err := set.Need(name)
		if err != nil {
			return nil, usageError{err}
		}
		needs = append(needs, need)
	}
	return needs, nil
}

// targetSet is what berth knows, and what the files of --targets add.
func (a *app) targetSet() (*target.Set, error) {
	set, err := target.Builtin()
	if err != nil {
		return nil, err
	}
	for _, name := range a.targetFiles {
		if err := addTargets(set, name); err != nil {
			return nil, usageError{fmt.Errorf("--targets: %w", err)}
		}
	}
	return set, nil
}

func addTargets(set *target.Set, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return set.Add(f, name)
}

// platforms reads the values of --platform, each of which may be a list as
// docker buildx has it.
func platforms(values []string) ([]platform.Platform, error) {
	var ps []platform.Platform
	for _, value := range values {
		for s := range strings.SplitSeq(value, ",") {
			p, err := platform.Parse(strings.TrimSpace(s))
			if err != nil {
				return nil, usageError{err}
			}
			ps = append(ps, p)
		}
	}
	return ps, nil
}

func formats(ps []platform.Platform) string {
	if len(ps) == 0 {
		return "no platform"
	}
	var s []string
	for _, p := range ps {
		s = append(s, platform.Format(p))
	}
	return strings.Join(s, ", ")
}
