package registry

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseChallenges(t *testing.T) {
	type params = map[string]string
	for in, want := range map[string][]challenge{
		`Basic`:                            {{"basic", params{}}},
		`basic realm="a b"`:                {{"basic", params{"realm": "a b"}}},
		`Basic realm="say \"x\", \\ y"`:    {{"basic", params{"realm": `say "x", \ y`}}},
		`Bearer realm=https://h/t,a=b`:     {{"bearer", params{"realm": "https://h/t", "a": "b"}}},
		`Bearer Realm="r" , SERVICE = "s"`: {{"bearer", params{"realm": "r", "service": "s"}}},
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull,push"`: {
			{"bearer", params{"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": "repository:library/alpine:pull,push"}},
		},
		`Negotiate, Basic realm="x"`:            {{"negotiate", params{}}, {"basic", params{"realm": "x"}}},
		`Negotiate YWJj==, Bearer realm="x"`:    {{"negotiate", params{}}, {"bearer", params{"realm": "x"}}},
		`Negotiate YWJj`:                        {{"negotiate", params{}}},
		`Basic realm="x", Bearer realm="y",,`:   {{"basic", params{"realm": "x"}}, {"bearer", params{"realm": "y"}}},
		`Bearer realm="x",error="insufficient"`: {{"bearer", params{"realm": "x", "error": "insufficient"}}},
		`Bearer realm=""`:                       {{"bearer", params{"realm": ""}}},
		// Errors.
		``:                                  nil,
		` , `:                               nil,
		`Bearer realm="x`:                   nil,
		`Bearer realm="x\`:                  nil,
		`Bearer realm="a",realm="b"`:        nil,
		`Bearer realm="a" service="b"`:      nil,
		`="x"`:                              nil,
		`"quoted"`:                          nil,
		`Bearer/x`:                          nil,
		strings.Repeat("x", maxChallenge+1): nil,
	} {
		got, err := parseChallenges(in)
		if (err == nil) != (want != nil) {
			t.Errorf("%s: %v", in, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(challenge{})); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

func TestChooseChallenge(t *testing.T) {
	for name, c := range map[string]struct {
		headers []string
		want    string
		says    string
	}{
		"the one":               {[]string{"Basic"}, "basic", ""},
		"the first that is met": {[]string{"Negotiate", `Bearer realm="x", Basic`}, "bearer", ""},
		"none that is met":      {[]string{"Negotiate", "Digest\x1b"}, "", "cannot be read"},
		"another":               {[]string{"Negotiate, AWS4 x=y"}, "", "it wants negotiate, aws4"},
		"none":                  {nil, "", "no WWW-Authenticate header"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := chooseChallenge(http.Header{"Www-Authenticate": c.headers})
			if c.says != "" {
				wantError(t, err, nil, c.says)
			} else if err != nil || got.scheme != c.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func FuzzParseChallenges(f *testing.F) {
	for _, seed := range []string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"`,
		`Negotiate YWJj==, Basic realm="say \"x\""`, `Bearer realm=x,,a = "b"`, `="`, `x "`, `x\`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parseChallenges(s)
		if (err == nil) != (len(all) > 0) {
			t.Fatalf("%q: %+v, %v", s, all, err)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
			t.Fatalf("%q has a control character", err)
		}
		var again []string
		for _, c := range all {
			one := c.scheme
			sep := " "
			for name, value := range c.params {
				one += sep + name + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
				sep = ", "
			}
			again = append(again, one)
		}
		if len(all) == 0 || len(strings.Join(again, ", ")) > maxChallenge {
			return
		}
		back, err := parseChallenges(strings.Join(again, ", "))
		if diff := cmp.Diff(all, back, cmp.AllowUnexported(challenge{})); err != nil || diff != "" {
			t.Fatalf("%q as %q: %v %s", s, again, err, diff)
		}
	})
}
