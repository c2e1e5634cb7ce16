package explain

import (
	"regexp"
	"strings"

	"berth/launch"
)

// notMachineCode are the causes of ENOEXEC, apart from the architecture.
var notMachineCode = []string{
	launch.CauseNoShebang, launch.CauseLFSPointer, launch.CauseEmptyFile, launch.CauseByteOrderMark,
	launch.CauseBadShebang, launch.CauseCompressed, launch.CauseWindowsExecutable, launch.CauseMachO,
	launch.CauseObjectFile, launch.CauseMalformedELF, launch.CauseNotAProgram,
}

// execTexts are the errors of execve. Each errno comes in the dresses of execForms.
func execTexts() []Text {
	return []Text{
		{
			ID: "env-finds-nothing", Stage: launch.StageRun, ExitCode: 127,
			Meaning: "The entrypoint is a script whose first line has env look for an interpreter, and env found none of that name.",
			Causes:  []string{launch.CauseCRLFShebang, launch.CauseMissingInterpreter},
			Forms: []Form{
				form("env of coreutils", "no such file or directory", `env: '(?P<object>[^']{1,256})': No such file or directory`,
					`/usr/bin/env: ‘bash\r’: No such file or directory`, "GNU coreutils src/env.c"),
				form("env of BusyBox", "can't execute", `env: can't execute '(?P<object>[^']{1,256})': No such file or directory`,
					"env: can't execute 'bash': No such file or directory", "busybox.net coreutils/env.c"),
			},
		},
		{
			ID: "bad-interpreter", Stage: launch.StageExec, Errno: "ENOENT", ExitCode: 126,
			Meaning: "A shell could not start a file that is there: what its first line names, or the loader that it needs, is missing.",
			Causes:  []string{launch.CauseCRLFShebang, launch.CauseMissingInterpreter, launch.CauseMissingLoader},
			Forms: []Form{
				form("bash", "bad interpreter", `(?P<path>[^\s:]{1,400}): (?P<object>[^:\s]{1,400}): bad interpreter: No such file or directory`,
					"bash: line 1: /entrypoint.sh: /bin/sh^M: bad interpreter: No such file or directory", "GNU bash execute_cmd.c"),
				form("bash 5.2", "required file not found", `(?P<path>[^\s:]{1,400}): cannot execute: required file not found`,
					"bash: line 1: /entrypoint.sh: cannot execute: required file not found", "GNU bash execute_cmd.c"),
			},
		},
		{
			ID: "shell-reads-program", Stage: launch.StageExec, Errno: "ENOEXEC", ExitCode: 2,
			Meaning: "A shell read a file as a script that is none. tini, dumb-init, env and shells do that with a file that the kernel refuses.",
			Causes:  append([]string{launch.CauseWrongMachine, childProgram}, notMachineCode...),
			Forms: []Form{
				form("dash", "unexpected", `(?P<path>/[^\s:]{1,400}): [0-9]{1,3}: Syntax error: (?:"[()&;|]+"|newline|word|end of file|EOF in backquote substitution|Unterminated quoted string) ?unexpected`,
					`/usr/local/bin/app: 1: Syntax error: "(" unexpected`, "dash src/parser.c"),
				form("BusyBox sh", "unexpected", `(?P<path>/[^\s:]{1,400}): line [0-9]{1,3}: syntax error: unexpected (?:"[()&;|]+"|newline|word|end of file|redirection)`,
					`/usr/local/bin/app: line 1: syntax error: unexpected "("`, "busybox.net shell/ash.c"),
				form("sh", "elf", `(?P<path>/[^\s:]{1,400}): (?:line )?[0-9]{1,3}: [^\s:]{0,8}ELF[^:]{0,40}: (?:command )?not found`,
					"/usr/local/bin/app: line 1: \x7fELF\x02\x01\x01: not found", "dash src/exec.c; busybox.net shell/ash.c"),
			},
		},
		{
			ID: "exec-format-error", Stage: launch.StageExec, Errno: "ENOEXEC",
			Meaning: "The kernel was given a file to execute that is in no format it knows. The program never ran.",
			Causes:  append(append([]string{launch.CauseWrongMachine}, notMachineCode...), otherImage, otherHost, childProgram),
			Forms: append(execForms("exec format error"),
				form("Python", "exec format error", `OSError: \[Errno 8\] Exec format error: '(?P<path>[^']{1,400})'`,
					"OSError: [Errno 8] Exec format error: '/usr/local/bin/app'", "CPython Lib/subprocess.py"),
				form("dash", "exec format error", `(?:^|[^\w./-])(?:/bin/)?(?:sh|dash): [0-9]{1,5}: `+wordPart+`: Exec format error`,
					"/bin/sh: 1: /usr/local/bin/app: Exec format error", "dash src/exec.c"),
				form("a program", "exec format error", `(?i)\bexec format error`,
					"Error: Exec format error", "Linux include/uapi/asm-generic/errno-base.h (ENOEXEC); Go syscall/zerrors_linux_amd64.go; devcenter.heroku.com/articles/container-registry-and-runtime")),
		},
		{
			ID: "exec-no-such-file", Stage: launch.StageExec, Errno: "ENOENT",
			Meaning: "The program is there, or the runtime would have said so before; what it needs to be started is not: its loader, or the interpreter of its first line.",
			Causes:  []string{launch.CauseMissingLoader, launch.CauseCRLFShebang, launch.CauseMissingInterpreter, emulator, mounted, launch.CauseNotFound},
			Forms: append(execForms("no such file or directory"),
				form("crun", "missing dynamic library", "exec container process \\(missing dynamic library\\?\\) [`'\"](?P<path>[^`'\"]{1,400})[`'\"]?: No such file or directory",
					"{\"msg\":\"exec container process (missing dynamic library?) `/app`: No such file or directory\",\"level\":\"error\"}", "github.com/containers/crun src/libcrun/container.c"),
				form("sh", "not found", `(?:^|[^\w./-])(?:/bin/)?(?:sh|dash|ash): (?:(?:line )?[0-9]{1,5}: )?(?P<path>\.{0,2}/[^\s:]{1,400}): not found`,
					"/bin/sh: ./entrypoint.sh: not found", "dash src/exec.c; busybox.net shell/ash.c")),
		},
		{
			ID: "exec-permission-denied", Stage: launch.StageExec, Errno: "EACCES",
			Meaning: "The kernel may not execute the program, its interpreter or its loader.",
			Causes:  []string{launch.CauseNotExecutable, launch.CauseBadInterpreter, launch.CauseBadLoader, launch.CauseNoAccess, launch.CauseBadShebang, launch.CauseDirectory, confinement, mounted},
			Forms: append(execForms("permission denied"),
				form("sh", "permission denied", `(?:^|[^\w./-])(?:/bin/)?(?:sh|dash|ash|bash): (?:(?:line )?[0-9]{1,5}: )?(?P<path>\.{0,2}/[^\s:]{1,400}): Permission denied`,
					"/bin/sh: 1: /entrypoint.sh: Permission denied", "dash src/exec.c; busybox.net shell/ash.c")),
		},
		{
			ID: "bad-loader", Stage: launch.StageExec, Errno: "ELIBBAD",
			Meaning: "The kernel took the program and refused its loader: it is for another architecture, or no loader.",
			Causes:  []string{launch.CauseWrongMachineLoader, launch.CauseBadLoader, mounted},
			Forms: append(execForms("accessing a corrupted shared library"),
				form("a program", "corrupted shared library", `(?i)\baccessing a corrupted shared library`,
					"./app: Accessing a corrupted shared library", "Linux include/uapi/asm-generic/errno.h (ELIBBAD), fs/binfmt_elf.c")),
		},
		{
			ID: "exec-io-error", Stage: launch.StageExec, Errno: "EIO",
			Meaning: "The kernel could not read as much of the program or of its loader as their headers promise: one of them is cut off. A failing disk says the same.",
			Causes:  []string{launch.CauseMalformedELF, launch.CauseBadLoader, launch.CauseUnpack, oldEngine},
			Forms:   execForms("input/output error"),
		},
		{
			ID: "shebang-loop", Stage: launch.StageExec, Errno: "ELOOP",
			Meaning: "The kernel followed the first lines of more than five scripts without coming to a program.",
			Causes:  []string{launch.CauseShebangLoop, launch.CausePath},
			Forms:   execForms("too many levels of symbolic links"),
		},
	}
}

// execForms are how programs that execute others put an errno. Go writes what
// strerror says in lower case, the C library with a capital.
func execForms(strerror string) []Form {
	capital := strings.ToUpper(strerror[:1]) + strerror[1:]
	quoted := regexp.QuoteMeta(strerror)
	dress := func(who, pattern, sample, source string) Form {
		return form(who, strerror, "(?i)"+pattern+quoted, sample, source)
	}
	return []Form{
		dress("runc before 1.1", `exec user process caused:? "?`,
			`standard_init_linux.go:228: exec user process caused: `+strerror, "github.com/opencontainers/runc v1.0 libcontainer/standard_init_linux.go"),
		dress("crun", "exec container process [`'\"](?P<path>[^`'\"]{1,400})[`'\"]?: ",
			"exec container process `/usr/bin/app`: "+capital, "github.com/containers/crun src/libcrun/container.c"),
		dress("gVisor (Cloud Run)", `failed to load `+pathPart+`: `,
			"terminated: Application failed to start: failed to load /usr/bin/app: "+strerror, "github.com/google/gvisor pkg/sentry/loader; github.com/GoogleCloudPlatform/jit-groups/issues/270"),
		dress("Go's os/exec (AWS Lambda)", `fork/exec `+pathPart+`: `,
			"RequestId: 8e4fda21-3939-4a20-8d52-8eb18debcd13 Error: fork/exec /lambda-entrypoint.sh: "+strerror, "Go os/exec_posix.go; github.com/aws/aws-lambda-go/issues/554"),
		dress("tini", `\[FATAL +tini \([0-9]+\)\] exec `+wordPart+` failed: `,
			"[FATAL tini (7)] exec /init failed: "+capital, "github.com/krallin/tini src/tini.c"),
		dress("dumb-init", `\[dumb-init\] `+wordPart+`: `,
			"[dumb-init] /app: "+capital, "github.com/Yelp/dumb-init dumb-init.c"),
		dress("Fly.io", `failed to spawn command: `+pathPart+`: `,
			"ERROR Error: failed to spawn command: /scripts/run.sh: "+capital, "github.com/fspoettel/linkding-on-fly/issues/9").of("fly"),
		dress("bash", `(?:^|[\s:"])`+wordPart+`: (?:cannot execute(?: binary file)?: )`,
			"/bin/bash: line 1: /usr/local/bin/app: cannot execute binary file: "+capital, "GNU bash execute_cmd.c"),
		dress("runc", `\bexec `+pathPart+`: `,
			"exec /usr/bin/app: "+strerror, "github.com/opencontainers/runc libcontainer/system/linux.go"),
	}
}
