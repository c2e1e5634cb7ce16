package launch

import (
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Override is what a deployment starts instead of what an image's config says. Its zero
// value changes nothing.
//
// Deployment files have other words for the same fields. Kubernetes calls an entrypoint
// command and a command args, and takes an empty list for none, so that it must become nil
// here; ECS and Compose have Docker's words, entryPoint and command.
type Override struct {
	// Entrypoint replaces the config's entrypoint, and drops its command: that was meant for
	// another program. It is nil where it is not set. An empty one (entrypoint: [] of Compose)
	// clears the entrypoint and leaves the command, which then is all that is started.
	Entrypoint []string
	// Command replaces the config's command and leaves its entrypoint as it is. It is nil
	// where it is not set; an empty one clears the command.
	Command []string
	// User is user[:group], or empty for the config's.
	User string
	// WorkDir is an absolute path, or empty for the config's.
	WorkDir string
	// Env is KEY=value, each in place of the config's of that name or beside the others. A
	// KEY alone removes it, as in Docker's API.
	Env []string
}

// IsZero tells whether o changes nothing.
func (o Override) IsZero() bool {
	return o.Entrypoint == nil && o.Command == nil && o.User == "" && o.WorkDir == "" && len(o.Env) == 0
}

// Equal tells whether o and other change the same.
func (o Override) Equal(other Override) bool {
	return equalArgs(o.Entrypoint, other.Entrypoint) && equalArgs(o.Command, other.Command) &&
		o.User == other.User && o.WorkDir == other.WorkDir && slices.Equal(o.Env, other.Env)
}

// equalArgs tells nil from empty: only one of them changes something.
func equalArgs(a, b []string) bool {
	return slices.Equal(a, b) && (a == nil) == (b == nil)
}

// Apply returns the config of what is started: merge of moby's daemon/commit.go, with
// which Kubernetes and ECS agree. An entrypoint of one empty string, which is what docker
// run --entrypoint ” sends, clears entrypoint and command (mergeAndVerifyConfig of
// daemon/container.go).
func (o Override) Apply(c v1.ImageConfig) v1.ImageConfig {
	if o.Entrypoint != nil {
		c.Entrypoint = o.Entrypoint
		if len(o.Entrypoint) > 0 {
			c.Cmd = nil
		}
		if slices.Equal(c.Entrypoint, []string{""}) {
			c.Entrypoint = nil
		}
	}
	if o.Command != nil {
		c.Cmd = o.Command
	}
	if o.User != "" {
		c.User = o.User
	}
	if o.WorkDir != "" {
		c.WorkingDir = o.WorkDir
	}
	if len(o.Env) > 0 {
		c.Env = mergeEnv(c.Env, o.Env)
	}
	return c
}

// mergeEnv is ReplaceOrAppendEnvValues of moby's daemon/container/env.go: a change takes the
// place of the first entry of its name.
func mergeEnv(env, changes []string) []string {
	last := map[string]string{} // of each name that changes
	var order []string
	for _, change := range changes {
		name, _, _ := strings.Cut(change, "=")
		if _, again := last[name]; !again {
			order = append(order, name)
		}
		last[name] = change
	}
	var merged []string
	placed := map[string]bool{}
	place := func(name string) {
		if change := last[name]; !placed[name] && strings.Contains(change, "=") {
			merged = append(merged, change)
		}
		placed[name] = true
	}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if _, changes := last[name]; changes {
			place(name)
		} else {
			merged = append(merged, kv)
		}
	}
	for _, name := range order {
		place(name)
	}
	return merged
}
