package explain

import "berth/launch"

const runcInit = "github.com/opencontainers/runc libcontainer/standard_init_linux.go, which calls LookPath of Go's os/exec"

const crunLinux = "github.com/containers/crun src/libcrun/container.c"

// createTexts are what runtimes say that refuse before they execute anything.
func createTexts() []Text {
	return []Text{
		{
			ID: "not-in-path", Stage: launch.StageCreate, ExitCode: 127,
			Meaning: "The runtime looked for the program in the folders of PATH, in the image, and found none that can be executed.",
			Causes:  []string{launch.CauseNotFound, overridden, launch.CauseNotExecutable, otherImage},
			Forms: []Form{
				form("runc", "executable file not found in", `exec: "?(?P<path>[^":]{1,400}?)"?: executable file not found in \$PATH`,
					`docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "serve": executable file not found in $PATH: unknown.`, runcInit),
				form("crun", "not found in $path", "executable file [`'\"](?P<path>[^`'\"]{1,400})[`'\"]? not found in \\$PATH",
					"Error: crun: executable file `serve` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not found", crunLinux),
				form("Kata Containers", "was not found", `rpc error: code = Internal desc = the file (?P<path>\S{1,400}) was not found`,
					"failed to create shim task: rpc error: code = Internal desc = the file python3 was not found", "github.com/kata-containers/kata-containers/issues/10497"),
			},
		},
		{
			ID: "no-such-program", Stage: launch.StageCreate, Errno: "ENOENT", ExitCode: 127,
			Meaning: "The program that is to be started is not in the image, or it is a link to something that is not.",
			Causes:  []string{launch.CauseNotFound, overridden, mounted, otherImage},
			Forms: []Form{
				form("runc", "no such file or directory", `exec: "(?P<path>[^"]{1,400})": stat [^:]{1,400}: no such file or directory`,
					`Error: failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "/app/server": stat /app/server: no such file or directory: unknown`, runcInit),
				form("Docker with runc before 1.1", "no such file or directory", `starting container process caused:? "?exec: "(?P<path>[^"]{1,400})": (?:stat [^:]{1,400}: )?no such file or directory`,
					`OCI runtime create failed: container_linux.go:380: starting container process caused: exec: "/app/server": no such file or directory: unknown`, runcInit),
			},
		},
		{
			ID: "not-executable", Stage: launch.StageCreate, Errno: "EACCES", ExitCode: 126,
			Meaning: "The program is there, and the user of the container may not execute it.",
			Causes:  []string{launch.CauseNotExecutable, launch.CauseNoAccess, launch.CauseDirectory, mounted, confinement},
			Forms: []Form{
				form("runc", "permission denied", `exec: "(?P<path>[^"]{1,400})": (?:stat [^:]{1,400}: )?permission denied`,
					`OCI runtime create failed: runc create failed: unable to start container process: exec: "/entrypoint.sh": permission denied: unknown`, runcInit),
				form("crun", "open executable", `open executable: (?:Permission denied|Operation not permitted)`,
					"Error: crun: open executable: Permission denied: OCI permission denied", crunLinux),
			},
		},
		{
			ID: "is-a-directory", Stage: launch.StageCreate, Errno: "EISDIR", ExitCode: 126,
			Meaning: "What is to be started is a folder.",
			Causes:  []string{launch.CauseDirectory, mounted, overridden},
			Forms: []Form{
				form("runc", "is a directory", `exec: "(?P<path>[^"]{1,400})": (?:stat [^:]{1,400}: )?is a directory`,
					`runc create failed: unable to start container process: error during container init: exec: "/app": is a directory`, runcInit),
			},
		},
		{
			ID: "bad-path", Stage: launch.StageCreate, ExitCode: 125,
			Meaning: "The path of the program cannot be followed to its end.",
			Causes:  []string{launch.CausePath, mounted},
			Forms: []Form{
				form("runc", "stat ", `exec: "(?P<path>[^"]{1,400})": stat [^:]{1,400}: (?:too many levels of symbolic links|not a directory|file name too long)`,
					`unable to start container process: exec: "/bin/app": stat /bin/app: too many levels of symbolic links`, runcInit),
				form("crun", "open executable", `open executable: (?:Too many levels of symbolic links|Not a directory)`,
					"Error: crun: open executable: Too many levels of symbolic links", crunLinux),
			},
		},
		{
			ID: "relative-path-entry", Stage: launch.StageCreate, ExitCode: 125,
			Meaning: "The program was found through an entry of PATH that is relative, which runtimes built with Go 1.19 or later refuse.",
			Causes:  []string{launch.CauseRelativePath},
			Forms: []Form{
				form("runc", "relative to current directory", `exec: "(?P<path>[^"]{1,400})": cannot run executable found relative to current directory`,
					`runc create failed: unable to start container process: exec: "app": cannot run executable found relative to current directory`, "go.dev/blog/path-security; pkg.go.dev/os/exec#ErrDot"),
			},
		},
		{
			ID: "unknown-user", Stage: launch.StageCreate, ExitCode: 125,
			Meaning: "The container is to run as a user whom the image does not have.",
			Causes:  []string{launch.CauseUnknownUser, overridden, mounted},
			Forms: []Form{
				form("Docker, containerd, Podman", "unable to find user", `unable to find user (?P<object>[^:\s]{1,256}): no matching entries in passwd file`,
					"docker: Error response from daemon: unable to find user app: no matching entries in passwd file", "github.com/moby/sys user/user.go"),
				form("Podman", "does not exist in container", `user (?P<object>[^:\s]{1,256}) does not exist in container`,
					"Error: user app does not exist in container", "github.com/containers/podman pkg/lookup/lookup.go"),
			},
		},
		{
			ID: "unknown-group", Stage: launch.StageCreate, ExitCode: 125,
			Meaning: "The container is to run in a group that the image does not have.",
			Causes:  []string{launch.CauseUnknownGroup, overridden, mounted},
			Forms: []Form{
				form("Docker, containerd, Podman", "unable to find group", `unable to find group (?P<object>[^:\s]{1,256}): no matching entries in group file`,
					"docker: Error response from daemon: unable to find group staff: no matching entries in group file", "github.com/moby/sys user/user.go"),
			},
		},
		{
			ID: "bad-working-dir", Stage: launch.StageCreate, ExitCode: 125,
			Meaning: "The working directory cannot be made or entered.",
			Causes:  []string{launch.CauseWorkingDir, overridden, mounted},
			Forms: []Form{
				form("Docker", "cannot mkdir", `[Cc]annot mkdir: (?P<object>[^:\n]{1,400}?) is not a directory`,
					"docker: Error response from daemon: Cannot mkdir: /app is not a directory.", "github.com/moby/moby daemon/container/container.go"),
				form("runc", "set in config.json failed", `chdir to cwd \("(?P<object>[^"]{1,400})"\) set in config\.json failed`,
					`runc create failed: unable to start container process: chdir to cwd ("/app") set in config.json failed: permission denied`, "github.com/opencontainers/runc libcontainer/init_linux.go"),
				form("Docker", "needs to be an absolute path", `working directory '(?P<object>[^']{1,400})' is invalid, it needs to be an absolute path`,
					"docker: Error response from daemon: the working directory 'app' is invalid, it needs to be an absolute path.", "github.com/moby/moby daemon/container.go"),
			},
		},
		{
			ID: "no-command", Stage: launch.StageCreate, ExitCode: 125,
			Meaning: "Neither the image nor the deployment says what to start.",
			Causes:  []string{launch.CauseNoCommand, otherImage},
			Forms: []Form{
				form("Docker, containerd", "no command specified", `(?i)\bno command specified`,
					"docker: Error response from daemon: No command specified.", "github.com/moby/moby daemon/create.go; github.com/containerd/containerd internal/cri/opts/spec_opts.go"),
			},
		},
	}
}
