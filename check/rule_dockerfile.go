package check

// What Dockerfiles do that makes an image's label lie: package workload finds it.
var (
	dockerfileTargetArgDefault = mistakes("BER018", "dockerfile-target-arg-default", Error,
		"A platform argument of the builder is given a default, which pins it: every platform gets the same program.")
	dockerfileTargetArgUndeclared = mistakes("BER019", "dockerfile-target-arg-undeclared", Error,
		"A platform argument is used in a stage that does not declare it, where it is empty.")
	dockerfileBuildPlatformFinal = mistakes("BER020", "dockerfile-build-platform-final", Error,
		"The final stage is FROM --platform=$BUILDPLATFORM: the image is labelled for the target and holds the bytes of the builder.")
	dockerfilePlatformConstant = mistakes("BER021", "dockerfile-platform-constant", Warning,
		"A stage is FROM --platform with a constant, so that it is the same whatever is built for.")
	dockerfileArchitectureInURL = mistakes("BER022", "dockerfile-architecture-in-url", Notice,
		"A download names one architecture, whatever is built for.")
	dockerfileGOARCHConstant = mistakes("BER023", "dockerfile-goarch-constant", Warning,
		"GOARCH is set to a constant, whatever is built for.")
)
