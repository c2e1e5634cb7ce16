package cli

import (
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"berth/launch"
)

// TestProcessFlags reads what is to be started as docker run would.
func TestProcessFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want launch.Override
		bad  string
	}{
		{args: nil},
		{args: []string{"--entrypoint", "/app -v"}, want: launch.Override{Entrypoint: []string{"/app -v"}}},
		{args: []string{"--entrypoint", `["/app", "-v"]`}, want: launch.Override{Entrypoint: []string{"/app", "-v"}}},
		{args: []string{"--entrypoint", ""}, want: launch.Override{Entrypoint: []string{""}}},
		{args: []string{"--entrypoint", "[]"}, want: launch.Override{Entrypoint: []string{}}},
		{args: []string{"--command", ""}, want: launch.Override{Command: []string{}}},
		{args: []string{"--command", `serve --name "a b" 'c'd\ e`}, want: launch.Override{Command: []string{"serve", "--name", "a b", "cd e"}}},
		{args: []string{"--command", `a "" ''`}, want: launch.Override{Command: []string{"a", "", ""}}},
		{args: []string{"--command", `"a\n\"" \\`}, want: launch.Override{Command: []string{`a\n"`, `\`}}},
		{args: []string{"--user", "1000:50", "--workdir", "/srv", "--env", "A=1", "--env", "B="}, want: launch.Override{User: "1000:50", WorkDir: "/srv", Env: []string{"A=1", "B="}}},
		{args: []string{"--entrypoint", "[/app]"}, bad: "JSON list"},
		{args: []string{"--command", `a "b`}, bad: "not closed"},
		{args: []string{"--command", `a\`}, bad: "backslash"},
		{args: []string{"--env", "HOME"}, bad: "write --env KEY=VALUE"},
	} {
		var process processFlags
		cmd := &cobra.Command{}
		process.flags(cmd)
		if err := cmd.ParseFlags(c.args); err != nil {
			t.Fatal(err)
		}
		got, err := process.override(cmd)
		if len(got.Env) == 0 {
			got.Env = nil
		}
		switch {
		case c.bad != "":
			if err == nil || !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%q: %v, want an error about %s", c.args, err, c.bad)
			}
		case err != nil:
			t.Errorf("%q: %v", c.args, err)
		case !reflect.DeepEqual(got, c.want):
			t.Errorf("%q: %+v, want %+v", c.args, got, c.want)
		}
	}
}
