package launch

import (
	"reflect"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestOverride(t *testing.T) {
	config := v1.ImageConfig{Entrypoint: []string{"/entry", "-e"}, Cmd: []string{"serve"}, User: "web", WorkingDir: "/srv", Env: []string{"A=1", "B=2", "C=3"}}
	with := func(change func(*v1.ImageConfig)) v1.ImageConfig {
		c := config
		change(&c)
		return c
	}
	for _, c := range []struct {
		name string
		o    Override
		want v1.ImageConfig
	}{
		{"nothing", Override{}, config},
		{"entrypoint drops the command", Override{Entrypoint: []string{"/sh"}}, with(func(c *v1.ImageConfig) { c.Entrypoint, c.Cmd = []string{"/sh"}, nil })},
		{"entrypoint cleared", Override{Entrypoint: []string{}}, with(func(c *v1.ImageConfig) { c.Entrypoint = []string{} })},
		{"entrypoint reset as docker run does", Override{Entrypoint: []string{""}}, with(func(c *v1.ImageConfig) { c.Entrypoint, c.Cmd = nil, nil })},
		{"command keeps the entrypoint", Override{Command: []string{"x"}}, with(func(c *v1.ImageConfig) { c.Cmd = []string{"x"} })},
		{"command cleared", Override{Command: []string{}}, with(func(c *v1.ImageConfig) { c.Cmd = []string{} })},
		{"both", Override{Entrypoint: []string{"/sh"}, Command: []string{"x"}}, with(func(c *v1.ImageConfig) { c.Entrypoint, c.Cmd = []string{"/sh"}, []string{"x"} })},
		{"user and folder", Override{User: "0:0", WorkDir: "/"}, with(func(c *v1.ImageConfig) { c.User, c.WorkingDir = "0:0", "/" })},
		{"env", Override{Env: []string{"B=", "D=4", "A"}}, with(func(c *v1.ImageConfig) { c.Env = []string{"B=", "C=3", "D=4"} })},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.o.Apply(config); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if c.o.IsZero() != (c.name == "nothing") {
				t.Error("IsZero is wrong")
			}
		})
	}
	if config.Env[0] != "A=1" || config.Env[1] != "B=2" {
		t.Errorf("the config's own list was changed: %v", config.Env)
	}
}
