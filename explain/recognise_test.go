package explain

import (
	"strings"
	"testing"
	"unicode"

	"berth/platform"
)

// TestRecogniseLogs reads whole logs, as their programs write them.
func TestRecogniseLogs(t *testing.T) {
	for _, c := range []struct {
		name, log                 string
		id, path, object          string // of what says most
		wanted, found             string
		reference, digest, target string
		also                      string // IDs of the others
	}{
		{
			name: "docker run",
			log: "Unable to find image 'ghcr.io/acme/app:v1' locally\nv1: Pulling from acme/app\nDigest: sha256:0a1b\nStatus: Downloaded newer image for ghcr.io/acme/app:v1\n" +
				"WARNING: The requested image's platform (linux/arm64) does not match the detected host platform (linux/amd64/v3) and no specific platform was requested\n" +
				"exec /usr/local/bin/docker-entrypoint.sh: exec format error\n",
			id: "exec-format-error", path: "/usr/local/bin/docker-entrypoint.sh", reference: "ghcr.io/acme/app:v1", also: "platform-warning",
		}, {
			name: "docker compose, again and again",
			log:  "bot4sss  | exec /usr/bin/python: exec format error\nsss      | exec /docker-entrypoint.sh: exec format error\nbot4sss exited with code 255\n",
			id:   "exec-format-error", path: "/usr/bin/python", also: "exec-format-error exit-255",
		}, {
			name: "kubelet event",
			log: "  Normal   Pulling    12s                kubelet  Pulling image \"ghcr.io/acme/app:v1\"\n" +
				"  Warning  Failed     11s                kubelet  Failed to pull image \"ghcr.io/acme/app:v1\": rpc error: code = NotFound desc = failed to pull and unpack image \"ghcr.io/acme/app:v1\": no match for platform in manifest: not found\n" +
				"  Warning  Failed     11s                kubelet  Error: ErrImagePull\n  Warning  Failed     10s (x2 over 11s)  kubelet  Error: ImagePullBackOff\n",
			id: "platform-not-in-index", reference: "ghcr.io/acme/app:v1", target: "kubernetes", also: "cannot-pull",
		}, {
			name: "kubectl describe pod",
			log: "Containers:\n  web:\n    Image:         registry.example.com:5000/team/web:1.2\n    Image ID:      registry.example.com:5000/team/web@sha256:" + strings.Repeat("ab", 32) +
				"\n    State:          Waiting\n      Reason:       CrashLoopBackOff\n    Last State:     Terminated\n      Reason:       StartError\n" +
				"      Message:      failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: \"./server\": stat ./server: no such file or directory: unknown\n      Exit Code:    128\n",
			id: "no-such-program", path: "./server", reference: "registry.example.com:5000/team/web:1.2", digest: "sha256:" + strings.Repeat("ab", 32), target: "kubernetes", also: "container-exits",
		}, {
			name: "ECS stopped reason",
			log: `{"tasks":[{"containers":[{"image":"123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:v1","lastStatus":"STOPPED","name":"web"}],"launchType":"FARGATE",` +
				`"stoppedReason":"CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not contain descriptor matching platform 'linux/amd64'"}]}`,
			id: "platform-not-in-index", wanted: "linux/amd64", reference: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app:v1", target: "fargate", also: "cannot-pull",
		}, {
			name: "the console broke the line",
			log:  "CannotPullContainerError: pull image manifest has been retried 7 time(s): image\nManifest does not contain descriptor matching plat\nform 'linux/arm64'",
			id:   "cannot-pull",
		}, {
			name: "the console broke the line once",
			log:  "CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest\ndoes not contain descriptor matching platform 'linux/arm64'",
			id:   "platform-not-in-index", wanted: "linux/arm64", target: "fargate", also: "cannot-pull",
		}, {
			name: "CloudWatch",
			log:  `{"timestamp":1700000000000,"message":"exec /app/start: exec format error","ingestionTime":1700000000001}`,
			id:   "exec-format-error", path: "/app/start",
		}, {
			name: "Lambda",
			log: "INIT_REPORT Init Duration: 1.49 ms\tPhase: init\tStatus: error\tError Type: Runtime.InvalidEntrypoint\nSTART RequestId: 8e4fda21 Version: $LATEST\n" +
				"RequestId: 8e4fda21 Error: fork/exec /lambda-entrypoint.sh: exec format error\nRuntime.InvalidEntrypoint\nEND RequestId: 8e4fda21\n",
			id: "exec-format-error", path: "/lambda-entrypoint.sh", target: "lambda", also: "lambda-invalid-entrypoint",
		}, {
			name: "CloudFormation, JSON in JSON",
			log:  `{"ResourceStatusReason":"Resource handler returned message: \"The image manifest, config or layer media type for the source image 123456789012.dkr.ecr.us-east-1.amazonaws.com/app:latest is not supported. (Service: Lambda, Status Code: 400, Request ID: 72b8) (SDK Attempt Count: 1)\" (RequestToken: b924, HandlerErrorCode: InvalidRequest)"}`,
			id:   "image-media-type-refused", reference: "123456789012.dkr.ecr.us-east-1.amazonaws.com/app:latest", target: "lambda",
		}, {
			name: "Cloud Run",
			log:  "{\"textPayload\": \"terminated: Application failed to start: failed to load /usr/bin/java: exec format error\",\n\"resource\": {\"type\": \"cloud_run_revision\"}}",
			id:   "exec-format-error", path: "/usr/bin/java", target: "cloudrun",
		}, {
			name: "Azure Container Apps",
			log:  "ERROR: Failed to provision revision for container app 'web'. Error details: The following field(s) are either invalid or missing. Field 'template.containers.web.image' is invalid with details: 'Invalid value: \"acme.azurecr.io/web:v1\": image OS/Arc must be linux/amd64 but found linux/arm64';",
			id:   "platform-not-that-of-image", wanted: "linux/amd64", found: "linux/arm64", reference: "acme.azurecr.io/web:v1", target: "container-apps",
		}, {
			name: "Heroku",
			log:  "2021-04-25T03:39:39.636712+00:00 app[web.1]: Error: Exec format error\n2021-04-25T03:39:39.756062+00:00 heroku[web.1]: Process exited with status 126\n",
			id:   "exec-format-error", target: "heroku", also: "exit-126",
		}, {
			name: "podman",
			log:  `Error: choosing an image from manifest list docker://quay.io/acme/app:v1: no image found in manifest list for architecture "arm", variant "v7", OS "linux"`,
			id:   "platform-not-in-index", wanted: "linux/arm/v7",
		}, {
			name: "Windows line endings, and a terminal that hides them",
			log:  "env: can't execute 'bash\r': No such file or directory\r\n",
			id:   "env-finds-nothing", object: `bash\r`,
		}, {
			name: "a loader's text is about a program and a library",
			log:  "Error loading shared library libstdc++.so.6: No such file or directory (needed by /usr/bin/app)\nError relocating /usr/bin/app: _ZNSt7__cxx11: symbol not found\n",
			id:   "missing-library", path: "/usr/bin/app", object: "libstdc++.so.6", also: "missing-symbol",
		}, {
			name: "an exit code alone", log: " 139 \n", id: "segmentation-fault",
		}, {
			name: "an application's own errors",
			log:  "{\"image\": \"cat.png\"} from image dog\nopen /etc/app.yaml: no such file or directory\nlisten tcp :80: bind: permission denied\nGET /x 127.0.0.1 200\nerror: user not found\n",
		}, {
			name: "numbers", log: "took 126 ms, 127 rows, status 139\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Recognise(c.log)
			if string(r.Reference) != c.reference || string(r.Digest) != c.digest || r.Target != c.target {
				t.Errorf("reference %q, digest %q, target %q", r.Reference, r.Digest, r.Target)
			}
			if c.id == "" {
				if len(r.Said) > 0 {
					t.Errorf("read as %s: %q", ids(r), r.Said[0].Line)
				}
				return
			}
			if len(r.Said) == 0 {
				t.Fatal("not recognised")
			}
			s := r.Said[0]
			if s.Text.ID != c.id || s.Path != c.path || s.Object != c.object {
				t.Errorf("%s, path %q, object %q", s.Text.ID, s.Path, s.Object)
			}
			same := func(p platform.Platform, want string) bool {
				return want == "" && !platform.Known(p) || want != "" && platform.Equal(p, platform.MustParse(want))
			}
			if !same(s.Wanted, c.wanted) || !same(s.Found, c.found) {
				t.Errorf("wanted %s, found %s", platform.Format(s.Wanted), platform.Format(s.Found))
			}
			if also := strings.TrimPrefix(strings.ReplaceAll(ids(r), ", ", " "), c.id); strings.TrimSpace(also) != c.also {
				t.Errorf("also %q, want %q", also, c.also)
			}
		})
	}
}

func TestRepetitionsAreCounted(t *testing.T) {
	r := Recognise("start\n" + strings.Repeat("exec /app: exec format error\n", 5))
	if len(r.Said) != 1 || r.Said[0].Times != 5 || r.Said[0].Number != 2 {
		t.Errorf("%+v", r.Said)
	}
}

func TestOnlyTheEndOfALongTextIsRead(t *testing.T) {
	long := strings.Repeat("a line of a log\n", MaxText/8)
	if r := Recognise(long + "exec /app: exec format error"); !r.Cut || len(r.Said) != 1 {
		t.Errorf("cut %t, %d texts", r.Cut, len(r.Said))
	}
	if r := Recognise("exec /app: exec format error\n" + long); !r.Cut || len(r.Said) != 0 {
		t.Errorf("cut %t, %d texts", r.Cut, len(r.Said))
	}
}

func TestPlacesAndSigns(t *testing.T) {
	for _, p := range places {
		for _, reference := range []string{"alpine", "acme/app:v1", "localhost:5000/a/b_c:V1.2-x", "ghcr.io/acme/app@sha256:" + strings.Repeat("0f", 32)} {
			line := strings.Replace(p.sample, "HOST/app:v1", reference, 1)
			m := p.pattern.FindStringSubmatch(line)
			if m == nil || m[p.pattern.SubexpIndex("reference")] != reference || !strings.Contains(strings.ToLower(line), p.key) {
				t.Errorf("%q: found %q", line, m)
			}
		}
	}
	for _, s := range signs {
		if r := Recognise("x " + s.key + " x"); r.Target == "" {
			t.Errorf("%q is from nowhere", s.key)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"ghcr.io/acme/app:v1":   "ghcr.io/acme/app:v1",
		"exec /app: it's \"x\"": `'exec /app: it'\''s "x"'`,
		"":                      "''",
		"a;rm -rf /":            "'a;rm -rf /'",
		"$(x)":                  "'$(x)'",
	} {
		if got := quote(in); got != want {
			t.Errorf("%q became %s, want %s", in, got, want)
		}
	}
}

// FuzzRecognise holds what must be true of any text: no panic, bounds, and nothing of
// it that a terminal would obey.
func FuzzRecognise(f *testing.F) {
	for _, text := range Texts() {
		for _, form := range text.Forms {
			f.Add(form.Sample)
			f.Add(quoteJSON(form.Sample))
		}
	}
	for _, wrap := range wrappings {
		f.Add(wrap("exec /app: exec format error"))
	}
	f.Add("\x1b]0;owned\x07exec /\x1b[2J: exec format error\u202e\u0000")
	f.Add("\xff\xfe\x00")
	f.Add(`\u001b[2Jexec /\u0007: exec format error \\\\\\" \u12`)
	f.Add("exec /\nxyz: exec format\nerror")
	f.Fuzz(func(t *testing.T, text string) {
		r := Recognise(text)
		if len(r.Said) > maxSaid {
			t.Errorf("%d texts", len(r.Said))
		}
		lines := strings.Count(decode(text), "\n") + 1
		for _, s := range r.Said {
			if len([]rune(s.Line)) > maxShown+2 || s.Number < 1 || s.Number > lines || s.Times < 1 {
				t.Errorf("%+v", s)
			}
		}
		e := Explain(r, nil)
		if (e.Conclusion == Unrecognised) != (len(r.Said) == 0) || e.Summary == "" || len(e.Next) == 0 {
			t.Errorf("%+v", e)
		}
		var shown strings.Builder
		for _, s := range r.Said {
			shown.WriteString(s.Line + s.Match + s.Path + s.Object)
		}
		for _, n := range e.Next {
			shown.WriteString(n.Title + n.Command)
		}
		shown.WriteString(r.Reference + string(r.Digest) + r.Target + e.Summary)
		if i := strings.IndexFunc(shown.String(), func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }); i >= 0 {
			t.Errorf("a control character in %q", shown.String())
		}
	})
}
