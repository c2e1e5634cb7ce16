package launch

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/platform"
	"berth/rootfs"
)

// imageOf is the file system of layers, lowest first. Those without files are left out.
func imageOf(tb testing.TB, layers ...[]imagetest.File) *rootfs.FS {
	tb.Helper()
	var all []rootfs.Layer
	for i, files := range layers {
		if len(files) == 0 {
			continue
		}
		l := imagetest.TarLayer(files...)
		all = append(all, rootfs.Layer{
			Descriptor: imagetest.New().AddBlob(l.MediaType, l.Raw),
			DiffID:     l.DiffID,
			CreatedBy:  []string{"COPY base /", "COPY app /"}[min(i, 1)],
			Open: func(_ context.Context, offset int64) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(l.Raw[offset:])), nil
			},
		})
	}
	fsys := rootfs.NewPool(rootfs.PoolOptions{Keep: Keep}).New(all, rootfs.Options{})
	tb.Cleanup(func() {
		if err := fsys.Close(); err != nil {
			tb.Error(err)
		}
	})
	return fsys
}

// amd64 is a host with IA32 emulation, as distributions have it.
var amd64 = Host{Platform: platform.MustParse("linux/amd64"), Compat: platform.Compat{IA32: true}}

func prove(tb testing.TB, fsys FileSystem, config v1.ImageConfig, host Host) *Proof {
	tb.Helper()
	proof, err := Prove(tb.Context(), fsys, FromConfig(config), host)
	if err != nil {
		tb.Fatal(err)
	}
	if (proof.Failure != nil) != (proof.Verdict == Fails) || (proof.Reason != "") != (proof.Verdict == Unknown) {
		tb.Errorf("verdict %s with failure %+v and reason %q", proof.Verdict, proof.Failure, proof.Reason)
	}
	return proof
}

// summary is a proof as scenario.want has it.
func summary(p *Proof) string {
	if p.Verdict != Fails {
		return string(p.Verdict)
	}
	errno := p.Failure.Errno
	if errno == "" {
		errno = "-"
	}
	return strings.Join([]string{string(p.Verdict), string(p.Failure.Stage), errno, p.Failure.Cause}, " ")
}

func TestProve(t *testing.T) {
	names := map[string]bool{}
	for _, c := range corpus() {
		t.Run(c.name, func(t *testing.T) {
			if names[c.name] {
				t.Fatal("two scenarios of that name")
			}
			names[c.name] = true
			proof := prove(t, c.image(t), c.process, amd64)
			if got := summary(proof); got != c.want {
				t.Errorf("got  %s\nwant %s\n%+v\n%s", got, c.want, proof.Failure, proof.Reason)
			}
			if c.message != "" && (proof.Failure == nil || proof.Failure.Message != c.message) {
				t.Errorf("message of %+v, want %q", proof.Failure, c.message)
			}
			if proof.Failure != nil && (proof.Failure.Message == "" || proof.Failure.Detail == "" || proof.Failure.Fix == "" || strings.Contains(proof.Failure.Message, ": : ")) {
				t.Errorf("a failure must say what it is and what to do: %+v", proof.Failure)
			}
			if proof.Evidence != Proven {
				t.Errorf("evidence %s", proof.Evidence)
			}
		})
	}
}
