package transfer_test

import (
	"context"
	"fmt"

	"berth/image"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/transfer"
)

// The arm64 half of an image is copied, as a new index of one entry.
func ExamplePlan_Run() {
	ctx := context.Background()
	src, dst := imagetest.New(), imagetest.New()
	amd64 := src.AddImage(imagetest.Image{Configured: platform.MustParse("linux/amd64")}, "")
	arm64 := src.AddImage(imagetest.Image{Configured: platform.MustParse("linux/arm64")}, "")
	src.AddIndex("v1", "", amd64, arm64)

	img, err := image.Open(ctx, src, "v1")
	if err != nil {
		panic(err)
	}
	selection, err := img.Only([]platform.Platform{platform.MustParse("linux/arm64")}, image.OnlyOptions{})
	if err != nil {
		panic(err)
	}
	plan, err := transfer.New(selection, transfer.PlanOptions{})
	if err != nil {
		panic(err)
	}
	result, err := plan.Run(ctx, src, dst, transfer.Options{Tag: "v1"})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d manifests pushed, %d left out, %d blob copied\n", result.Manifests, result.Dropped, result.Copied.Blobs)

	result, err = plan.Run(ctx, src, dst, transfer.Options{Tag: "v1"})
	if err != nil {
		panic(err)
	}
	fmt.Println("unchanged the second time:", result.Unchanged)
	// Output:
	// 2 manifests pushed, 1 left out, 1 blob copied
	// unchanged the second time: true
}
