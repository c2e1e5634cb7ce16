package launch_test

import (
	"bytes"
	"context"
	"fmt"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
	"berth/launch"
	"berth/platform"
	"berth/rootfs"
)

// A program for arm64 in an image that a host of amd64 is to start.
func Example() {
	program := imagetest.ELF(platform.MustParse("linux/arm64"), "")
	layer := imagetest.GzipLayer(imagetest.File{Name: "app", Mode: 0o755, Body: string(program)})
	fsys := rootfs.New([]rootfs.Layer{{
		Descriptor: imagetest.New().AddBlob(layer.MediaType, layer.Raw),
		DiffID:     layer.DiffID,
		CreatedBy:  "COPY app /app",
		Open: func(_ context.Context, offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(layer.Raw[offset:])), nil
		},
	}}, rootfs.Options{})
	defer fsys.Close()

	process := launch.FromConfig(v1.ImageConfig{Entrypoint: []string{"/app"}})
	proof, err := launch.Prove(context.Background(), fsys, process, launch.Host{Platform: platform.MustParse("linux/amd64")})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(proof.Verdict, proof.Evidence)
	fmt.Println(proof.Failure.Message)
	fmt.Println(proof.Failure.Detail)
	fmt.Println(proof.Failure.CreatedBy)
	// Output:
	// fails proven
	// exec /app: exec format error
	// /app is an ELF executable for linux/arm64, and the host runs linux/amd64
	// COPY app /app
}
