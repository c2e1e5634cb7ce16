package explain

import (
	"context"
	"errors"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/check"
	"berth/image"
	"berth/internal/imagetest"
	"berth/launch"
	"berth/platform"
	"berth/target"
)

// proven is an image of which a proof says what a test needs.
func proven(t *testing.T, proof *launch.Proof) Subject {
	t.Helper()
	amd64 := platform.MustParse("linux/amd64")
	m := imagetest.New()
	m.AddImage(imagetest.Image{Configured: amd64, Config: v1.ImageConfig{Entrypoint: []string{"/app"}}}, "v1")
	im, err := image.Open(context.Background(), m, "v1")
	if err != nil {
		t.Fatal(err)
	}
	s := &check.Subject{Name: "app:v1", Need: target.Need{Platform: amd64}, Image: im}
	s.Select()
	s.Start = &check.Start{Manifest: s.Selected, Host: launch.Host{Platform: amd64}, Process: launch.Process{Args: []string{"/app"}}, Proof: proof}
	return Subject{Subject: s}
}

func fails(stage launch.Stage, cause, errno string, exit int) *launch.Proof {
	return &launch.Proof{
		Verdict: launch.Fails, Evidence: launch.Proven,
		Failure: &launch.Failure{Stage: stage, Cause: cause, Errno: errno, ExitCode: exit, Message: "message", Detail: "detail", Fix: "fix", Path: "/app"},
		Steps:   []launch.Step{{Path: "/app", Kind: "elf", Role: "entrypoint", Platform: "linux/amd64"}},
	}
}

// wraps starts, and what it starts in turn fails.
func wraps(cause string) *launch.Proof {
	p := starts()
	p.Derived = &launch.Derived{Evidence: "derived", Verdict: launch.Fails, Literal: true, Failure: &launch.Failure{Stage: launch.StageRun, Cause: cause, Errno: "ENOEXEC", Message: "message", Detail: "detail", Fix: "fix"}}
	return p
}

func starts(warnings ...launch.Warning) *launch.Proof {
	return &launch.Proof{
		Verdict: launch.Starts, Evidence: launch.Proven, Warnings: warnings,
		Steps: []launch.Step{{Path: "/app", Kind: "elf", Role: "entrypoint", Platform: "linux/amd64"}},
	}
}

// TestExplainByProof holds texts against what a proof can say, whether or not proofs go
// as far as that today.
func TestExplainByProof(t *testing.T) {
	unchecked := launch.Warning{Cause: launch.CauseLibraries, Detail: "the libraries were not looked at"}
	missing := "/app: error while loading shared libraries: libfoo.so.1: cannot open shared object file: No such file or directory"
	for _, c := range []struct {
		name, text string
		proof      *launch.Proof
		conclusion Conclusion
		first      string // the first cause and its status
		status     Status
	}{
		{"a library is missing, and the proof says so", missing, fails(launch.StageLoad, missingLibrary, "", 127), Confirmed, missingLibrary, Established},
		{"a library is missing, and none was looked at", missing, starts(unchecked), Likely, missingLibrary, Possible},
		{"a library is missing, and all are there", missing, starts(), Contradicted, otherImage, Possible},
		{"the CPU, of which a proof warns", "CPU ISA level is lower than required", starts(launch.Warning{Cause: cpuLevel, Detail: "/app needs x86-64-v3"}), Likely, cpuLevel, Possible},
		{"a code that fits", "Exited (139) 3 seconds ago", fails(launch.StageRun, launch.CauseSegmentLayout, "", 139), Confirmed, launch.CauseSegmentLayout, Established},
		{"a code that does not fit", "Exited (126) 3 seconds ago", fails(launch.StageRun, launch.CauseSegmentLayout, "", 139), Differs, launch.CauseNotExecutable, RuledOut},
		{"a code where runtimes differ", "exit status 255", fails(launch.StageExec, launch.CauseWrongMachine, "ENOEXEC", 0), Confirmed, launch.CauseWrongMachine, Established},
		{"killed, so it did start", "OOMKilled", starts(), Likely, killed, Possible},
		{"what a wrapper starts", "exec format error", starts(launch.Warning{Cause: launch.CauseNotFollowed, Detail: "/app starts another"}), Contradicted, otherImage, Possible},
		{"what a wrapper starts is for another machine", "exec format error", wraps(launch.CauseWrongMachine), Likely, launch.CauseWrongMachine, Possible},
		{"another errno", "exec /app: permission denied", fails(launch.StageExec, launch.CauseWrongMachine, "ENOEXEC", 0), Differs, launch.CauseNotExecutable, RuledOut},
		{"it cannot be told", "exec /app: exec format error", &launch.Proof{Verdict: launch.Unknown, Reason: "not modelled"}, Unknown, launch.CauseWrongMachine, Possible},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := Explain(Recognise(c.text), []Subject{proven(t, c.proof)})
			if e.Conclusion != c.conclusion || e.Summary == "" || len(e.Next) == 0 {
				t.Fatalf("%s: %s (next: %v)", e.Conclusion, e.Summary, e.Next)
			}
			i := 0
			if c.status == RuledOut { // after what is possible
				for e.Causes[i].Status != RuledOut {
					i++
				}
			}
			if e.Causes[i].Cause != c.first || e.Causes[i].Status != c.status {
				t.Errorf("first is %+v, want %s %s", e.Causes[i], c.first, c.status)
			}
			if (e.Conclusion == Contradicted || e.Conclusion == Differs) && len(e.Conflicts) == 0 {
				t.Error("no conflict is stated")
			}
		})
	}
}

func TestExplainWithoutBytes(t *testing.T) {
	reading := Recognise("exec /app: exec format error")
	unread := proven(t, nil)
	unread.Start = &check.Start{Manifest: unread.Selected, Err: errors.New("connection reset")}
	gone := Subject{Subject: &check.Subject{Name: "app:v1", Err: errors.New("manifest unknown")}}
	broken := proven(t, nil)
	broken.Start = nil // its manifest could not be read
	for why, s := range map[string]Subject{"connection reset": unread, "manifest unknown": gone, "could not be read": broken} {
		e := Explain(reading, []Subject{s})
		if e.Conclusion != Unknown || !strings.Contains(e.Summary, why) {
			t.Errorf("%s: %s", e.Conclusion, e.Summary)
		}
		for _, r := range e.Causes {
			if r.Status != Possible {
				t.Errorf("%s is %s, and nothing was read", r.Cause, r.Status)
			}
		}
	}
}

// TestTheBestSubjectIsExplained holds that one platform that fails in just this way
// counts more than others that do not.
func TestTheBestSubjectIsExplained(t *testing.T) {
	reading := Recognise("exec /app: exec format error")
	e := Explain(reading, []Subject{proven(t, starts()), proven(t, fails(launch.StageCreate, launch.CauseNotFound, "ENOENT", 127)), proven(t, fails(launch.StageExec, launch.CauseNoShebang, "ENOEXEC", 0))})
	if e.Conclusion != Confirmed || e.Causes[0].Cause != launch.CauseNoShebang {
		t.Errorf("%s: %s", e.Conclusion, e.Summary)
	}
}
