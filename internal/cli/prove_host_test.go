package cli

import (
	"reflect"
	"testing"

	"github.com/spf13/cobra"

	"berth/binary"
	"berth/launch"
	"berth/platform"
)

// TestHostProfile changes what is known of hosts by flags.
func TestHostProfile(t *testing.T) {
	unknown := launch.Host{Platform: platform.MustParse("linux/amd64"), CompatUnknown: platform.Compat{IA32: true}}
	for _, c := range []struct {
		args []string
		want launch.Host
		bad  bool
	}{
		{args: nil, want: unknown},
		{args: []string{"--ia32"}, want: launch.Host{Platform: unknown.Platform, Compat: platform.Compat{IA32: true}}},
		{args: []string{"--ia32=false"}, want: launch.Host{Platform: unknown.Platform}},
		{args: []string{"--cpu-level", "x86-64-v3", "--page-size", "65536"}, want: launch.Host{Platform: unknown.Platform, CompatUnknown: unknown.CompatUnknown, CPULevel: 3, PageSize: 65536}},
		{args: []string{"--kernel", "6.1.0-23-amd64"}, want: launch.Host{Platform: unknown.Platform, CompatUnknown: unknown.CompatUnknown, Kernel: binary.Version{Major: 6, Minor: 1}}},
		{args: []string{"--x32=false"}, want: launch.Host{Platform: unknown.Platform, CompatUnknown: unknown.CompatUnknown, NoX32: true}},
		{args: []string{"--kernel", "4.18"}, bad: true},
		{args: []string{"--kernel", "six"}, bad: true},
		{args: []string{"--cpu-level", "v9"}, bad: true},
		{args: []string{"--page-size", "0"}, bad: true},
	} {
		var profile hostProfile
		cmd := &cobra.Command{}
		profile.flags(cmd)
		if err := cmd.ParseFlags(c.args); err != nil {
			t.Fatal(err)
		}
		hosts := []launch.Host{unknown}
		if err := profile.apply(cmd, hosts); (err != nil) != c.bad {
			t.Errorf("%v: %v", c.args, err)
		} else if err == nil && !reflect.DeepEqual(hosts[0], c.want) {
			t.Errorf("%v: %+v", c.args, hosts[0])
		}
	}
}
