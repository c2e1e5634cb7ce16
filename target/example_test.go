package target_test

import (
	"fmt"
	"log"

	"berth/platform"
	"berth/target"
)

func ExampleSet_Need() {
	targets, err := target.Builtin()
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"apprunner", "lambda", "lambda/arm64", "lamda"} {
		need, err := targets.Need(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("%s: %s\n", platform.Format(need.Platform), need.Why)
	}
	// Output:
	// linux/amd64: AWS App Runner runs linux/amd64 only
	// linux/amd64: the default of AWS Lambda where no Architectures is given
	// linux/arm64: asked for
	// unknown target "lamda"; did you mean lambda? `berth targets` lists them all
}
