package launch

import (
	"archive/tar"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
)

// run is a process of root in the root folder.
func run(args ...string) v1.ImageConfig { return v1.ImageConfig{Entrypoint: args} }

// createFaults are what fails, or works, before execve: the lookup of the first argument
// and the working folder.
func createFaults() []scenario {
	prog := one(exe("app", static))
	long := strings.Repeat("d/", 2100)
	all := []scenario{
		{name: "no command", files: prog, process: v1.ImageConfig{Entrypoint: []string{}}, want: "fails create - " + CauseNoCommand},
		{name: "command alone", files: prog, process: v1.ImageConfig{Cmd: []string{"/app"}}, want: "starts"},
		{name: "absent", files: prog, process: run("/nope"), want: "fails create ENOENT " + CauseNotFound, message: `exec: "/nope": stat /nope: no such file or directory`},
		{name: "absent folder", files: prog, process: run("/no/pe"), want: "fails create ENOENT " + CauseNotFound, message: `exec: "/no/pe": stat /no/pe: no such file or directory`},
		{name: "dangling link", files: one(link("app", "nowhere")), want: "fails create ENOENT " + CauseNotFound, message: `exec: "/app": stat /app: no such file or directory`},
		{name: "link", files: one(link("app", "bin/p"), exe("bin/p", static)), want: "starts"},
		{name: "absolute link", files: one(link("app", "/bin/p"), exe("bin/p", static)), want: "starts"},
		{name: "link over the root", files: one(link("bin/app", "../../../p"), exe("p", static)), process: run("/bin/app"), want: "starts"},
		{name: "link to a folder, then a file", files: one(link("b", "bin"), exe("bin/p", static)), process: run("/b/p"), want: "starts"},
		{name: "dots behind a link", files: one(link("b", "x/y"), dir("x/y", 0o755), exe("x/p", static)), process: run("/b/../p"), want: "starts"},
		{name: "dots behind a file", files: prog, process: run("/app/../app"), want: "fails create ENOTDIR " + CausePath},
		{name: "40 links", files: links(40), want: "starts"},
		{name: "41 links", files: links(41), want: "fails create ELOOP " + CausePath, message: `exec: "/app": stat /app: too many levels of symbolic links`},
		{name: "circle of links", files: one(link("app", "b"), link("b", "app")), want: "fails create ELOOP " + CausePath},
		{name: "below a file", files: prog, process: run("/app/x"), want: "fails create ENOTDIR " + CausePath, message: `exec: "/app/x": stat /app/x: not a directory`},
		{name: "slash behind a file", files: prog, process: run("/app/"), want: "fails create ENOTDIR " + CausePath},
		{name: "component of 256 bytes", files: prog, process: run("/" + strings.Repeat("x", 256)), want: "fails create ENAMETOOLONG " + CausePath},
		{name: "path of 4096 bytes", files: prog, process: run("/" + long + "app"), want: "fails create ENAMETOOLONG " + CausePath},
		{name: "not executable", files: one(file("app", 0o644, static)), want: "fails create EACCES " + CauseNotExecutable, message: `exec: "/app": permission denied`},
		{name: "executable for others alone", files: one(file("app", 0o001, static)), want: "starts"},
		{name: "unreadable", files: one(file("app", 0o111, static)), want: "starts"},
		{name: "folder", files: one(dir("app", 0o755)), want: "fails create EISDIR " + CauseDirectory},
		{name: "pipe", files: one(imagetest.File{Name: "app", Mode: 0o755, Type: tar.TypeFifo}), want: "fails exec EACCES " + CauseDirectory, message: "exec /app: permission denied"},
		{name: "empty entrypoint", files: prog, process: run(""), want: "fails create - " + CauseNoCommand},
		{name: "empty entrypoint, and a command", files: prog, process: v1.ImageConfig{Entrypoint: []string{""}, Cmd: []string{"/app"}}, want: "unknown"},
		{name: "empty name", files: prog, process: v1.ImageConfig{Cmd: []string{""}}, want: "fails create - " + CauseNotFound, message: `exec: "": executable file not found in $PATH`},
		{name: "hard link", files: append(one(exe("bin/p", static)), imagetest.File{Name: "app", Link: "bin/p", Type: tar.TypeLink}), want: "starts"},

		{name: "relative", files: one(exe("bin/p", static)), process: run("bin/p"), want: "starts"},
		{name: "relative with a dot", files: prog, process: run("./app"), want: "starts"},
		{name: "relative to the working folder", files: one(exe("srv/p", static)), process: in("/srv", "./p"), want: "starts"},
		{name: "relative, above the working folder", files: one(exe("p", static), dir("srv", 0o755)), process: in("/srv", "../p"), want: "starts"},
		{name: "relative, and not in the working folder", files: prog, process: in("/srv", "./app"), want: "fails create ENOENT " + CauseNotFound, message: `exec: "./app": stat ./app: no such file or directory`},
		{name: "working folder missing", files: prog, process: in("/no/such/folder", "/app"), want: "starts"},
		{name: "working folder missing, program above it", files: prog, process: in("/no/such", "../../app"), want: "starts"},
		{name: "working folder a link", files: one(exe("srv/p", static), link("w", "srv")), process: in("/w", "./p"), want: "starts"},
		{name: "working folder a dangling link", files: one(exe("app", static), link("w", "srv")), process: in("/w", "../app"), want: "unknown"},
		{name: "working folder a file", files: prog, process: in("/app", "/app"), want: "fails create ENOTDIR " + CauseWorkingDir, message: "Cannot mkdir: /app is not a directory"},
		{name: "working folder below a file", files: prog, process: in("/app/x", "/app"), want: "fails create ENOTDIR " + CauseWorkingDir},
		{name: "working folder relative", files: prog, process: in("srv", "/app"), want: "fails create - " + CauseWorkingDir},
		{name: "working folder a circle of links", files: append(prog[:1:1], link("a", "b"), link("b", "a")), process: in("/a", "/app"), want: "fails create ELOOP " + CauseWorkingDir},
		{name: "script relative to the working folder", files: one(exe("srv/p", "#!sh\n"), exe("srv/sh", static)), process: in("/srv", "./p"), want: "starts"},
		{name: "in /proc", files: prog, process: run("/proc/self/exe"), want: "unknown"},
		{name: "behind a link to /proc", files: one(link("app", "/proc/self/exe")), want: "unknown"},

		{name: "in PATH", files: one(exe("usr/bin/p", static)), process: run("p"), want: "starts"},
		{name: "in PATH of the image", files: one(exe("opt/p", static)), process: env("PATH=/nope:/opt", "p"), want: "starts"},
		{name: "not in PATH", files: prog, process: run("app"), want: "fails create - " + CauseNotFound, message: `exec: "app": executable file not found in $PATH`},
		{name: "PATH empty", files: one(exe("usr/bin/p", static)), process: env("PATH=", "p"), want: "fails create - " + CauseNotFound},
		{name: "PATH relative", files: one(exe("bin/p", static)), process: env("PATH=bin", "p"), want: "fails create - " + CauseRelativePath, message: `exec: "p": cannot run executable found relative to current directory`},
		{name: "PATH with an empty entry", files: prog, process: env("PATH=/bin:", "app"), want: "fails create - " + CauseRelativePath},
		{name: "PATH relative behind an absolute one", files: one(exe("bin/p", static)), process: env("PATH=/bin:bin", "p"), want: "starts"},
		{name: "folder in PATH", files: one(dir("usr/bin/p", 0o755), exe("bin/p", static)), process: run("p"), want: "starts"},
		{name: "not executable in PATH", files: one(file("usr/bin/p", 0o644, static), exe("bin/p", static)), process: run("p"), want: "starts"},
		{name: "only not executable in PATH", files: one(file("usr/bin/p", 0o644, static)), process: run("p"), want: "fails create - " + CauseNotExecutable, message: `exec: "p": executable file not found in $PATH`},
		{name: "dangling link in PATH", files: one(link("usr/bin/p", "nowhere"), exe("bin/p", static)), process: run("p"), want: "starts"},
		{name: "the first in PATH is for another machine", files: one(exe("usr/bin/p", elf("linux/arm64", "")), exe("bin/p", static)), process: run("p"), want: "fails exec ENOEXEC " + CauseWrongMachine, foreign: true, message: "exec /usr/bin/p: exec format error"},
		{name: "PATH twice", files: one(exe("opt/p", static)), process: v1.ImageConfig{Entrypoint: []string{"p"}, Env: []string{"PATH=/nope", "PATH=/opt"}}, want: "starts"},
		{name: "wrapper", files: one(exe("bin/sh", static)), process: run("/bin/sh", "-c", "app"), want: "starts"},

		{name: "removed by the upper layer", lower: prog, files: one(file(".wh.app", 0, "")), want: "fails create ENOENT " + CauseNotFound},
		{name: "replaced by the upper layer", lower: one(exe("app", "")), files: prog, want: "starts"},
		{name: "loader destroyed by the upper layer", lower: one(exe("app", dynamic), link("lib64", "usr/lib64"), exe("usr/lib64/ld-linux-x86-64.so.2", sharedObject)), files: one(file("lib64/x", 0o644, "")), want: "fails exec ENOENT " + CauseMissingLoader},
	}
	return all
}

func in(workDir string, args ...string) v1.ImageConfig {
	return v1.ImageConfig{Entrypoint: args, WorkingDir: workDir}
}

func env(variable string, args ...string) v1.ImageConfig {
	return v1.ImageConfig{Entrypoint: args, Env: []string{variable}}
}

// userFaults are users other than root, and modes.
func userFaults() []scenario {
	passwd := file("etc/passwd", 0o644, "root:x:0:0::/:\n# comment\n\nweb:x:1000:1001::/:\nodd\n")
	group := file("etc/group", 0o644, "root:x:0:\nstaff:x:50:web,other\n#x:x:60:web\n")
	as := func(user string) v1.ImageConfig { return v1.ImageConfig{Entrypoint: []string{"/app"}, User: user} }
	owned := func(mode int64, uid, gid int) imagetest.File {
		return imagetest.File{Name: "app", Mode: mode, Body: static, UID: uid, GID: gid}
	}
	noExec := "fails create EACCES " + CauseNotExecutable
	var all []scenario
	add := func(name, user, want string, files ...imagetest.File) {
		all = append(all, scenario{name: name, files: append(files, passwd, group), process: as(user), want: want})
	}
	add("user by number", "1000", "starts", owned(0o755, 0, 0))
	add("user by name", "web", "starts", owned(0o755, 0, 0))
	add("user without an entry", "4711", "starts", owned(0o755, 0, 0))
	add("user and group by number", "4711:50", "starts", owned(0o050, 0, 50))
	add("group by name", "4711:staff", "starts", owned(0o050, 0, 50))
	add("file of the user", "web", "starts", owned(0o100, 1000, 0))
	add("file of root alone", "web", noExec, owned(0o700, 0, 0))
	add("file closed to its owner", "web", noExec, owned(0o077, 1000, 0))
	add("file of the user's group", "web", "starts", owned(0o010, 0, 1001))
	add("file of the user's group, by number", "1000", "starts", owned(0o010, 0, 1001))
	add("file of a further group", "web", "starts", owned(0o010, 0, 50))
	add("further groups do not count with a group", "web:1001", noExec, owned(0o010, 0, 50))
	add("commented group does not count", "web", noExec, owned(0o010, 0, 60))
	add("file closed to the user's group", "web", noExec, owned(0o701, 0, 1001))
	add("group of a user without an entry is root", "4711", "starts", owned(0o010, 0, 0))
	add("user unknown", "nobody", "fails create - "+CauseUnknownUser, owned(0o755, 0, 0))
	add("group unknown", "web:nogroup", "fails create - "+CauseUnknownGroup, owned(0o755, 0, 0))
	add("user out of range", "4294967295", "fails create - "+CauseUnknownUser, owned(0o755, 0, 0))
	add("user negative", "-1", "fails create - "+CauseUnknownUser, owned(0o755, 0, 0))
	add("user 0 and a group", "0:50", "starts", owned(0o100, 1000, 0))
	add("script not readable", "web", "fails run - "+CauseNoAccess, file("app", 0o111, "#!/sh\n"), exe("sh", static))
	add("interpreter of root alone", "web", "fails exec EACCES "+CauseBadInterpreter, exe("app", "#!/sh\n"), file("sh", 0o700, static))
	add("loader of root alone", "web", "fails exec EACCES "+CauseBadLoader, exe("app", dynamic), dir("lib64", 0o755), file("lib64/ld-linux-x86-64.so.2", 0o700, sharedObject))
	return append(all,
		scenario{name: "root without /etc/passwd", files: one(owned(0o755, 0, 0)), process: as("root"), want: "fails create - " + CauseUnknownUser, message: "unable to find user root: no matching entries in passwd file"},
		scenario{name: "number without /etc/passwd", files: one(owned(0o755, 0, 0)), process: as("1000"), want: "starts"},
		scenario{name: "folder of root alone", files: one(dir("d", 0o700), exe("d/app", static)), process: v1.ImageConfig{Entrypoint: []string{"/d/app"}, User: "1000"}, want: "fails create EACCES " + CauseNoAccess, message: `exec: "/d/app": stat /d/app: permission denied`},
		scenario{name: "folder without an entry", files: one(exe("d/app", static)), process: v1.ImageConfig{Entrypoint: []string{"/d/app"}, User: "1000"}, want: "starts"},
		scenario{name: "in PATH behind a file of root's", files: one(exe("bin/app", static), file("usr/bin/app", 0o700, static)), process: v1.ImageConfig{Entrypoint: []string{"app"}, User: "1000"}, want: "unknown"},
	)
}
