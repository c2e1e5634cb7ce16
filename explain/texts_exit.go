package explain

import (
	"fmt"
	"slices"
	"strconv"

	"berth/launch"
)

// exitTexts are exit codes and signals, without anything that says more.
func exitTexts() []Text {
	return []Text{
		{
			ID: "segmentation-fault", Stage: launch.StageRun, Weight: Vague, ExitCode: 139,
			Meaning: "It died of SIGSEGV (128 + 11): at once, without a word, where its segments cannot be mapped; later, where the program has a fault.",
			Causes:  []string{launch.CauseSegmentLayout, programFault, emulator, badLibrary},
			Forms: append(exitForms(139),
				form("Go, systemd, Kubernetes", "sigsegv", `\bSIGSEGV\b`, "signal: SIGSEGV: segmentation violation", "Linux man signal(7)"),
				form("a shell", "segmentation fault", `(?i)\bsegmentation fault\b`, "Segmentation fault (core dumped)", "GNU bash siglist.c")),
		},
		{
			ID: "illegal-instruction", Stage: launch.StageRun, Weight: Vague, ExitCode: 132,
			Meaning: "It died of SIGILL (128 + 4): the CPU was given an instruction that it does not have.",
			Causes:  []string{cpuLevel, emulator, launch.CauseWrongMachine, programFault},
			Forms: append(exitForms(132),
				form("Go, systemd, Kubernetes", "sigill", `\bSIGILL\b`, "signal: SIGILL: illegal instruction", "Linux man signal(7)"),
				form("a shell", "illegal instruction", `(?i)\billegal instruction\b`, "Illegal instruction (core dumped)", "GNU bash siglist.c")),
		},
		{
			ID: "exit-126", Stage: launch.StageCreate, Weight: Vague, ExitCode: 126,
			Meaning: "126 is the code for a program that was found and could not be executed, of Docker as of shells.",
			Causes:  []string{launch.CauseNotExecutable, launch.CauseDirectory, launch.CauseNoAccess, launch.CauseWrongMachine, launch.CauseMissingInterpreter, childProgram},
			Forms:   exitForms(126),
		},
		{
			ID: "exit-127", Stage: launch.StageCreate, Weight: Vague, ExitCode: 127,
			Meaning: "127 is the code for a program that was not found, of Docker, shells and env; loaders exit with it where a library is missing.",
			Causes:  []string{launch.CauseNotFound, launch.CauseMissingInterpreter, launch.CauseCRLFShebang, missingLibrary, cpuLevel, childProgram, overridden},
			Forms:   exitForms(127),
		},
		{
			ID: "exit-125", Stage: launch.StageCreate, Weight: Vague, ExitCode: 125,
			Meaning: "125 is the code of docker run itself: the engine could not make or start the container, and has said why.",
			Causes:  []string{launch.CauseNoCommand, launch.CauseUnknownUser, launch.CauseUnknownGroup, launch.CauseWorkingDir, launch.CausePath, launch.CauseRelativePath, launch.CauseUnpack, platformMissing, overridden},
			Forms:   exitForms(125),
		},
		{
			ID: "exit-255", Stage: launch.StageExec, Weight: Vague, ExitCode: 255,
			Meaning: "255 is what runc 1.2 and later exit with where the kernel refuses the program; programs use it for errors of their own too.",
			Causes:  append([]string{launch.CauseWrongMachine, launch.CauseMissingLoader, launch.CauseCRLFShebang, launch.CauseMissingInterpreter, programFault}, notMachineCode...),
			Forms:   exitForms(255),
		},
		{
			ID: "exit-137", Stage: launch.StageRun, Weight: Vague, ExitCode: 137,
			Meaning: "It was killed (128 + 9), so it did start.",
			Causes:  []string{killed},
			Forms: append(exitForms(137),
				form("Kubernetes", "oomkilled", `\bOOMKilled\b`, "    Reason:       OOMKilled", "kubernetes.io/docs/tasks/configure-pod-container/assign-memory-resource"),
				form("Amazon ECS", "outofmemoryerror", `\bOutOfMemoryError: Container killed due to memory usage`, "OutOfMemoryError: Container killed due to memory usage", "docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html")),
		},
	}
}

// exitForms are how engines and shells put an exit code. Alone it counts only where it
// is all that a line has.
func exitForms(code int) []Form {
	n := strconv.Itoa(code)
	return []Form{
		form("Docker, Kubernetes, Amazon ECS, shells", n, `(?i)\b(?:exit(?:ed)?[ _-]?(?:with )?(?:non-zero )?(?:exit )?(?:code|status)?|non-zero (?:exit )?code)["']?\s{0,20}[:=(]?\s{0,20}`+n+`\b`,
			fmt.Sprintf("web-1 exited with code %d", code), "docs.docker.com/reference/cli/docker/container/run (exit status); POSIX, Shell Command Language, 2.8.2"),
		form("Docker, Kubernetes, Amazon ECS, shells", n, `^\s*`+n+`\s*$`, n, "docs.docker.com/reference/cli/docker/container/run (exit status)"),
	}
}

// summaryTexts are what deploy targets say when a container did not come up.
func summaryTexts() []Text {
	anything := slices.Concat([]string{launch.CauseWrongMachine, programFault, overridden, launch.CauseMissingLoader, launch.CauseNotExecutable}, notMachineCode)
	return []Text{
		{
			ID: "lambda-invalid-entrypoint", Stage: launch.StageExec, Weight: Vague,
			Meaning: "Lambda could not start the entrypoint. The line about fork/exec, in the function's log, says why.",
			Causes:  anything,
			Forms: []Form{
				form("AWS Lambda", "runtime.invalid", `Runtime\.Invalid(?:Entrypoint|WorkingDir)`, "INIT_REPORT Init Duration: 1.49 ms\tPhase: init\tStatus: error\tError Type: Runtime.InvalidEntrypoint", "docs.aws.amazon.com/lambda/latest/dg/images-test.html; github.com/aws/aws-lambda-go/issues/554").of("lambda"),
			},
		},
		{
			ID: "cloudrun-not-listening", Stage: launch.StageRun, Weight: Vague,
			Meaning: "Cloud Run waited for the container to listen. It says the same whether the program never started or listens elsewhere; the revision's log knows more.",
			Causes:  append([]string{notListening}, anything...),
			Forms: []Form{
				form("Google Cloud Run", "failed to start and", `(?i)failed to start and (?:then )?listen on the port defined (?:provided )?by the PORT`, "Container failed to start. Failed to start and then listen on the port defined by the PORT environment variable.", "docs.cloud.google.com/run/docs/troubleshooting").of("cloudrun"),
			},
		},
		{
			ID: "cannot-pull", Stage: StagePull, Weight: Vague,
			Meaning: "The image was not pulled. The rest of the message says why.",
			Causes:  []string{pullForbidden, platformMissing, compressionRefused},
			Forms: []Form{
				form("Amazon ECS", "cannotpullcontainererror", `\bCannotPullContainerError\b`, "STOPPED (CannotPullContainerError)", "docs.aws.amazon.com/AmazonECS/latest/developerguide/task_cannot_pull_image.html"),
				form("Kubernetes", "imagepull", `\b(?:ErrImagePull|ImagePullBackOff)\b`, "web-7d4b9c-x2x   0/1   ImagePullBackOff   0   2m", "kubernetes.io/docs/concepts/containers/images"),
			},
		},
		{
			ID: "container-exits", Stage: launch.StageRun, Weight: Vague,
			Meaning: "The container ends again and again, or ended and was essential. Its own log, or that of the run before, says why.",
			Causes:  append([]string{programFault}, slices.DeleteFunc(slices.Clone(anything), func(w string) bool { return w == programFault })...),
			Forms: []Form{
				form("Kubernetes", "back", `\bCrashLoopBackOff\b|[Bb]ack-off restarting failed container`, "web-7d4b9c-x2x   0/1   CrashLoopBackOff   5 (28s ago)   3m", "kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle"),
				form("Amazon ECS", "essential container", `Essential container in task exited`, `"stoppedReason": "Essential container in task exited",`, "docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html"),
				form("Amazon ECS", "cannotstartcontainererror", `\bCannotStartContainerError\b`, `"reason": "CannotStartContainerError"`, "docs.aws.amazon.com/AmazonECS/latest/developerguide/cannot-start-container.html"),
				form("Heroku", "h10", `code=H10 desc="App crashed"`, `heroku[router]: at=error code=H10 desc="App crashed" method=GET path="/"`, "devcenter.heroku.com/articles/error-codes"),
				form("Docker", "restarting (", `\bRestarting \([0-9]+\)`, "0a1b2c3d4e5f   app   Restarting (1) 5 seconds ago", "docs.docker.com/reference/cli/docker/container/ls"),
			},
		},
	}
}
