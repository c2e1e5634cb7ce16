package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"berth/check"
	"berth/workload"
)

// configName is the file of defaults, looked for in the folder that berth runs in.
const configName = ".berth.yaml"

// config is what .berth.yaml says. Flags go before it.
type config struct {
	For              []string
	FailOn           string
	Strict           bool
	Cluster          string
	ClusterPlatforms []string
	Parameters       map[string]string
	Targets          []string
	Exclude          []string
	Ignores          []check.Ignore
}

// readConfig reads the file that --config names, or else .berth.yaml where there is one.
func readConfig(name string) (*config, error) {
	data, err := readFile(orDefault(name, configName))
	if name == "" && errors.Is(err, fs.ErrNotExist) {
		return &config{}, nil
	}
	if err != nil {
		return nil, usageError{err}
	}
	c, err := parseConfig(workload.NewFile(orDefault(name, configName), data))
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func parseConfig(f *workload.File) (*config, error) {
	documents, err := f.Documents()
	if err != nil {
		return nil, err
	}
	c := &config{Parameters: map[string]string{}}
	if len(documents) == 0 {
		return c, nil
	}
	if len(documents) > 1 || !documents[0].IsMap() {
		return nil, fmt.Errorf("%s: one mapping is needed", f.Name)
	}
	for _, e := range documents[0].Entries() {
		var err error
		switch key := e.Key.Text(); key {
		case "for":
			c.For, err = texts(e)
		case "fail-on":
			c.FailOn, err = text(e)
		case "strict":
			c.Strict = e.Value.Bool()
			if e.Value.Tag() != "!!bool" {
				err = fmt.Errorf("%s: strict is true or false", e.Value.Pos())
			}
		case "cluster":
			c.Cluster, err = text(e)
		case "cluster-platforms":
			c.ClusterPlatforms, err = texts(e)
		case "targets":
			c.Targets, err = texts(e)
		case "exclude":
			if c.Exclude, err = texts(e); err == nil {
				err = validPatterns(e.Value, c.Exclude...)
			}
		case "parameters":
			for _, p := range e.Value.Entries() {
				c.Parameters[p.Key.Text()] = p.Value.Text()
			}
			if !e.Value.IsMap() {
				err = fmt.Errorf("%s: parameters is a mapping of names to values", e.Value.Pos())
			}
		case "ignore":
			c.Ignores, err = ignores(e)
		default:
			err = fmt.Errorf("%s: %q is not known: for, fail-on, strict, cluster, cluster-platforms, parameters, targets, exclude and ignore are", e.Key.Pos(), key)
		}
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

func text(e workload.Entry) (string, error) {
	if e.Value.Text() == "" {
		return "", fmt.Errorf("%s: %s needs a value", e.Value.Pos(), e.Key.Text())
	}
	return e.Value.Text(), nil
}

// texts is a list, or one value in its place.
func texts(e workload.Entry) ([]string, error) {
	if e.Value.IsList() {
		values := e.Value.Texts()
		for i, v := range values {
			if v == "" {
				return nil, fmt.Errorf("%s: %s is a list of values", e.Value.Items()[i].Pos(), e.Key.Text())
			}
		}
		return values, nil
	}
	v, err := text(e)
	return []string{v}, err
}

func ignores(e workload.Entry) ([]check.Ignore, error) {
	if !e.Value.IsList() {
		return nil, fmt.Errorf("%s: ignore is a list of rule, reason, and file or image", e.Value.Pos())
	}
	var all []check.Ignore
	for _, item := range e.Value.Items() {
		i := check.Ignore{Pos: item.Pos()}
		for _, field := range item.Entries() {
			value := field.Value.Text()
			switch key := field.Key.Text(); key {
			case "rule":
				i.Rule = value
			case "reason":
				i.Reason = strings.TrimSpace(value)
			case "file":
				i.Files = value
			case "image":
				i.Images = value
			default:
				return nil, fmt.Errorf("%s: %q is not known of what is to be ignored: rule, reason, file and image are", field.Key.Pos(), key)
			}
		}
		if i.Rule == "" || i.Reason == "" {
			return nil, fmt.Errorf("%s: what is to be ignored needs a rule and a reason", item.Pos())
		}
		if err := validPatterns(item, i.Files, i.Images); err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}

func validPatterns(at workload.Node, patterns ...string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("%s: %q: %w", at.Pos(), pattern, err)
		}
	}
	return nil
}
