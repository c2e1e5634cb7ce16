package registry

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"berth/internal/imagetest"
)

// home makes an empty home, and returns a function that writes files into it.
func home(t *testing.T) (dir string, write func(name, content string, mode os.FileMode) string) {
	dir = t.TempDir()
	for _, name := range []string{"HOME", "USERPROFILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(name, dir)
	}
	for _, name := range []string{"DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG"} {
		t.Setenv(name, "")
	}
	return dir, func(name, content string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// file is a configuration in which each of keys has a user of its own name.
func file(keys ...string) string {
	var auths []string
	for _, key := range keys {
		auths = append(auths, fmt.Sprintf(`%q:{"username":%q,"password":%q}`, key, "user of "+key, secret))
	}
	return `{"auths":{` + strings.Join(auths, ",") + `}}`
}

func TestDefaultCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(t *testing.T, write func(name, content string, mode os.FileMode) string) (files []string)
		users map[string]string
	}{
		"nothing": {
			set:   func(*testing.T, func(string, string, os.FileMode) string) []string { return []string{""} },
			users: map[string]string{"docker.io": "anonymous", "h:5000": "anonymous"},
		},
		"Docker": {
			set: func(t *testing.T, write func(string, string, os.FileMode) string) []string {
				t.Setenv("DOCKER_CONFIG", filepath.Dir(write("d/config.json", file("https://index.docker.io/v1/", "h:5000"), 0o600)))
				return nil
			},
			users: map[string]string{"docker.io": "user user of https://index.docker.io/v1/", "h:5000": "user user of h:5000", "h": "anonymous"},
		},
		"podman": {
			set: func(_ *testing.T, write func(string, string, os.FileMode) string) []string {
				write("containers/auth.json", file("quay.io"), 0o600)
				return nil
			},
			users: map[string]string{"docker.io": "anonymous", "quay.io": "user user of quay.io"},
		},
		"REGISTRY_AUTH_FILE": {
			set: func(t *testing.T, write func(string, string, os.FileMode) string) []string {
				t.Setenv("REGISTRY_AUTH_FILE", write("auth.json", file("h"), 0o600))
				return nil
			},
			users: map[string]string{"h": "user user of h"},
		},
		"a file before Docker": {
			set: func(t *testing.T, write func(string, string, os.FileMode) string) []string {
				t.Setenv("DOCKER_CONFIG", filepath.Dir(write("d/config.json", `{"auths":{"both":{"username":"from Docker","password":"x"},"one":{"username":"from Docker","password":"x"}}}`, 0o600)))
				return []string{"", "missing.json", write("auth.json", file("both", "docker.io"), 0o600)}
			},
			users: map[string]string{"both": "user user of both", "one": "user from Docker", "docker.io": "user user of docker.io", "neither": "anonymous"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, write := home(t)
			found := DefaultCredentials(c.set(t, write)...)
			for host, want := range c.users {
				got, err := found.Credential(t.Context(), host)
				if err != nil || got.String() != want {
					t.Errorf("%s: %s, %v; want %s", host, got, err, want)
				}
				if got.Username != "" && got.Password == "" {
					t.Errorf("%s: no password", host)
				}
			}
		})
	}
}

func TestCredentialHelper(t *testing.T) {
	if runtime.GOOS == "windows" {
		imagetest.Missing(t, "/bin/sh, for a credential helper that is a script", "run this test on Linux or macOS")
	}
	dir, write := home(t)
	write("docker-credential-berth-test", `#!/bin/sh
read host
echo '{"ServerURL":"'$host'","Username":"<token>","Secret":"`+secret+`"}'
`, 0o700)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("DOCKER_CONFIG", filepath.Dir(write("d/config.json", `{"credHelpers":{"h":"berth-test","gone":"berth-is-not-there"}}`, 0o600)))
	got, err := DefaultCredentials().Credential(t.Context(), "h")
	if err != nil || got.IdentityToken != secret || got.Username != "" || got.Password != "" {
		t.Errorf("%s, %v: want an identity token", got, err)
	}
	_, err = DefaultCredentials().Credential(t.Context(), "gone")
	wantError(t, err, nil, "docker-credential-berth-is-not-there")
}

func TestCredentialFileIsBroken(t *testing.T) {
	dir, write := home(t)
	_, err := DefaultCredentials(dir).Credential(t.Context(), "h")
	wantError(t, err, nil, dir)
	_, err = DefaultCredentials(write("broken.json", `{"auths":{"h":{"auth":"`+secret, 0o600)).Credential(t.Context(), "h")
	wantError(t, err, nil, "broken.json")
}

func TestCredentialIsNotShown(t *testing.T) {
	for _, c := range []Credential{
		{Username: "alice", Password: secret},
		{IdentityToken: secret},
		{RegistryToken: secret},
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if text := fmt.Sprintf(format, c); strings.Contains(text, secret) {
				t.Errorf("%s shows %s", format, text)
			}
			if text := fmt.Sprintf(format, &c); strings.Contains(text, secret) {
				t.Errorf("%s of a pointer shows %s", format, text)
			}
		}
	}
}
