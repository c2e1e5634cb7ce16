package explain

import "berth/launch"

// pullTexts are what engines and deploy targets say that do not take an image.
func pullTexts() []Text {
	return []Text{
		{
			ID: "platform-not-in-index", Stage: StagePull,
			Meaning: "The engine looked in the image for its own platform and found nothing, so nothing was started.",
			Causes:  []string{platformMissing, otherImage, otherHost},
			Forms: []Form{
				form("Docker", "no matching manifest for", `no matching manifest for (?:unknown|`+platformPart+`(?: [0-9.]+)?)(?: in the manifest list entries)?(?:: no match for platform in manifest(?:: not found)?)?`,
					"docker: Error response from daemon: no matching manifest for linux/arm64/v8 in the manifest list entries.", "github.com/moby/moby daemon/internal/distribution/pull_v2.go"),
				form("Amazon ECS on Fargate", "descriptor matching platform", `(?i)image manifest does not contain descriptor matching platform '?`+platformPart,
					"CannotPullContainerError: pull image manifest has been retried 7 time(s): image Manifest does not contain descriptor matching platform 'linux/amd64'", "repost.aws/questions (Fargate, platform version 1.4); zenn.dev/teba_eleven/articles/e54f67b897ebea").of("fargate"),
				form("Azure Container Apps", "no child with platform", `no child with platform `+platformPart,
					"Invalid value: \"app.azurecr.io/web:v1\": no child with platform linux/amd64 in index app.azurecr.io/web:v1", "github.com/Azure/GPT-RAG/issues/418; the words are those of go-containerregistry pkg/v1/remote/index.go"),
				form("containerd", "no match for", `no match for (?:platform|current platform `+platformPart+`) in manifest(?: sha256:[0-9a-f]+)?(?:: not found)?`,
					`Failed to pull image "ghcr.io/acme/app:v1": rpc error: code = NotFound desc = failed to pull and unpack image "ghcr.io/acme/app:v1": no match for platform in manifest: not found`, "github.com/containerd/containerd core/images/image.go"),
				form("Podman, CRI-O, skopeo", "no image found in", `no image found in (?:image index|manifest list) for architecture "?(?P<arch>[a-z0-9_]+)"?(?:, variant "(?P<variant>[a-z0-9]*)")?, OS "?(?P<os>[a-z]+)"?`,
					`Error: choosing an image from manifest list docker://quay.io/acme/app:v1: no image found in manifest list for architecture "amd64", variant "", OS "linux"`, "github.com/containers/image manifest/docker_schema2_list.go, manifest/oci_index.go"),
			},
		},
		{
			ID: "platform-not-that-of-image", Stage: StagePull,
			Meaning: "One platform was asked for, and the image is for another.",
			Causes:  []string{platformMissing, labelsDisagree, otherImage},
			Forms: []Form{
				form("Docker", "was found but", `image with reference \S+ was found but does not match the specified (?:OS )?platform: wanted:? `+platformPart+`, actual: `+havePart,
					"image with reference sha256:0a1b was found but does not match the specified platform: wanted linux/amd64, actual: linux/arm64/v8", "github.com/moby/moby daemon/images/image.go"),
				form("Docker", "was found but", `image with reference \S+ was found but (?:its platform \(`+havePart+`\) does not match|does not provide) the specified platform \(`+platformPart+`\)`,
					"Error response from daemon: image with reference ghcr.io/acme/app:v1 was found but does not provide the specified platform (linux/amd64)", "github.com/moby/moby/pull/48631"),
				form("Azure Container Apps", "image os/arc must be", `image OS/Arch? must be `+platformPart+` but found `+havePart,
					`Field 'template.containers.web.image' is invalid with details: 'Invalid value: "app.azurecr.io/web:v1": image OS/Arc must be linux/amd64 but found linux/arm64';`, "github.com/Azure/data-api-builder/issues/2163").of("container-apps"),
			},
		},
		{
			ID: "operating-system", Stage: StagePull,
			Meaning: "The image is for another operating system than the engine runs: Docker on Windows in the mode of Windows containers, most often.",
			Causes:  []string{otherHost, platformMissing},
			Forms: []Form{
				form("Docker", "operating system", `(?:image|container) operating system (?:"(?P<object>[a-z]+)" )?(?:cannot be used on this platform|does not match the host operating system)`,
					`docker: image operating system "linux" cannot be used on this platform.`, "github.com/moby/moby daemon/internal/distribution/pull.go; github.com/docker/for-win/issues/1988"),
			},
		},
		{
			ID: "image-media-type-refused", Stage: StagePull,
			Meaning: "Lambda takes the manifest of one image, and was given something else: most often an index, which build attestations make of every image.",
			Causes:  []string{attestationRefused, indexRefused, compressionRefused, mediaTypeRefused},
			Forms: []Form{
				form("AWS Lambda", "media type for the source image", `image manifest(?:, config)? or layer media type for the source image \S+ is not supported`,
					`Resource handler returned message: "The image manifest, config or layer media type for the source image 123456789012.dkr.ecr.us-east-1.amazonaws.com/app:latest is not supported. (Service: Lambda, Status Code: 400)"`, "github.com/aws/aws-lambda-roadmap/issues/82").of("lambda"),
			},
		},
		{
			ID: "layer-refused", Stage: StagePull,
			Meaning: "Lambda read the manifest and refused one of its layers: its media type or compression, or a layer that is none (an attestation's).",
			Causes:  []string{compressionRefused, attestationRefused, mediaTypeRefused},
			Forms: []Form{
				form("AWS Lambda", "unsupportedimagelayerdetected", `UnsupportedImageLayerDetected(?: - Layer Digest (?P<object>sha256:[0-9a-f]+))?`,
					"InvalidImage(ImageLayerFailure: UnsupportedImageLayerDetected - Layer Digest sha256:0fc4b6ec0465d0ec6aa519323ef88f3871f273944ed74a48756a0287bb632f00)", "github.com/bazel-contrib/rules_oci/issues/777").of("lambda"),
			},
		},
		{
			ID: "push-refused", Stage: StagePull,
			Meaning: "Heroku's registry takes Docker's manifest of one image, and was given an index or OCI media types.",
			Causes:  []string{attestationRefused, mediaTypeRefused, indexRefused},
			Forms: []Form{
				form("Heroku", "registry.heroku.com", `registry\.heroku\.com/\S*manifests/\S*:? .*(?:405 Method Not Allowed|UNSUPPORTED)`,
					"ERROR: failed to push registry.heroku.com/app/web: unexpected status from PUT request to https://registry.heroku.com/v2/app/web/manifests/latest: 405 Method Not Allowed", "github.com/heroku/cli/issues/1807; help.heroku.com/74S3XXMP").of("heroku"),
			},
		},
		{
			ID: "layer-not-unpacked", Stage: StagePull,
			Meaning: "The image was fetched, and the engine could not unpack a layer.",
			Causes:  []string{compressionRefused, oldEngine, launch.CauseUnpack},
			Forms: []Form{
				form("Docker before 23, containerd before 1.5", "invalid tar header", `(?:failed to register layer|failed to extract layer|Error processing tar file)?[^"]{0,300}archive/tar: invalid tar header`,
					"CannotPullContainerError: failed to register layer: Error processing tar file(exit status 1): archive/tar: invalid tar header", "github.com/aws/amazon-ecs-agent/issues/4179"),
				form("containerd", "layers and diffids", `number of layers and diffIDs don't match: [0-9]+ != [0-9]+`,
					"CannotPullContainerError: ref pull has been retried 1 time(s): number of layers and diffIDs don't match: 3 != 15", "github.com/containerd/containerd client/image.go; vrnithinkumar.github.io/2025/02/17/aws-ecs-docker-pull-error"),
				form("containerd", "mismatched image rootfs", `mismatched image rootfs and manifest layers`,
					`failed to create containerd container: mismatched image rootfs and manifest layers`, "github.com/containerd/containerd core/unpack/unpacker.go"),
				form("Docker, containerd", "layer", `failed to (?:register layer|extract layer (?P<object>sha256:[0-9a-f]+))`,
					"failed to register layer: duplicates of file paths not supported", "github.com/moby/moby daemon/internal/distribution/xfer/download.go; github.com/containerd/containerd core/unpack/unpacker.go"),
			},
		},
		{
			ID: "platform-warning", Stage: StagePull, Weight: Telling,
			Meaning: "A warning: the engine was about to run an image of another platform than its own, which works only under emulation.",
			Causes:  []string{launch.CauseWrongMachine, emulator},
			Forms: []Form{
				form("Docker", "does not match the detected host platform", `requested image's platform \(`+havePart+`\) does not match the detected host platform \(`+platformPart+`\)`,
					"WARNING: The requested image's platform (linux/arm64) does not match the detected host platform (linux/amd64/v3) and no specific platform was requested", "github.com/moby/moby daemon/create.go"),
				form("Podman", "does not match the expected platform", `image platform \(`+havePart+`\) does not match the expected platform \(`+platformPart+`\)`,
					"WARNING: image platform (linux/amd64) does not match the expected platform (linux/arm64)", "github.com/containers/common libimage/pull.go"),
			},
		},
	}
}
