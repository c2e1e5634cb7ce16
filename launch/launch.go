// Package launch says what happens when a host starts an image, from the bytes
// of the image's file system: which file is looked up, what execve answers,
// whether the loader is there, and what it loads.
//
// Start with [Prove], on a file system (a rootfs.FS), the [Process] that [FromConfig]
// makes of an image's config, and the [Host] that is to start it. The rules are those of
// Docker and runc for what comes before execve (stage "create"), and of the Linux kernel
// from there on: package binary reads files as the kernel does.
//
// What is modelled decides the verdict. What is not (what a program opens once it runs)
// is a [Warning] beside it where execve and the loader succeed, and makes it [Unknown] where
// it could make them fail. What a wrapper or a script starts in turn is [Proof.Derived].
//
// A verdict is a value, with its evidence. An error means that the bytes could
// not be read.
package launch

import (
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/binary"
	"berth/platform"
)

// Verdict is the answer of a [Proof].
type Verdict string

const (
	// Starts says that execve and the loader succeed.
	Starts Verdict = "starts"
	// Fails says that they do not, and [Proof.Failure] says how.
	Fails Verdict = "fails"
	// Unknown says that berth cannot tell, and [Proof.Reason] says why.
	Unknown Verdict = "unknown"
)

// Evidence is what a verdict stands on, weakest first: declared < configured <
// sampled < proven.
type Evidence string

const (
	Declared   Evidence = "declared"   // the index entry's platform
	Configured Evidence = "configured" // the config's platform
	Sampled    Evidence = "sampled"    // some bytes; a layer not read to its end could change the answer
	Proven     Evidence = "proven"     // the bytes of every file in the chain, and of all that could mask them
)

// Stage is where a start fails.
type Stage string

const (
	StageCreate Stage = "create" // the runtime refuses before execve
	StageExec   Stage = "exec"   // execve fails
	StageLoad   Stage = "load"   // the dynamic loader fails
	StageRun    Stage = "run"    // it starts and dies at once, for a reason that bytes prove
)

// Process is what is to be started.
type Process struct {
	Args    []string // entrypoint and command, joined
	Env     []string // KEY=value
	User    string   // user[:group], names or numbers, as the config has it
	WorkDir string
	// EmptyEntrypoint says that the entrypoint is one empty string. Docker takes it for none,
	// so that Args is the command alone, and containerd for a program without a name.
	EmptyEntrypoint bool
}

// FromConfig is the process that an image's config starts.
func FromConfig(c v1.ImageConfig) Process {
	p := Process{Env: c.Env, User: c.User, WorkDir: c.WorkingDir}
	// mergeAndVerifyConfig of moby's daemon/container.go.
	if p.EmptyEntrypoint = slices.Equal(c.Entrypoint, []string{""}); !p.EmptyEntrypoint {
		p.Args = append(p.Args, c.Entrypoint...)
	}
	p.Args = append(p.Args, c.Cmd...)
	return p
}

// Host is the machine that is to start it.
type Host struct {
	Platform platform.Platform
	Compat   platform.Compat
	// CompatUnknown has the bits of Compat that are not known of this host. A start
	// that turns on one of them is [Unknown].
	CompatUnknown platform.Compat
	// PageSize in bytes; zero is the architecture's usual one.
	PageSize int
	// Kernel is its release of Linux, at least 5.1, or zero where it is not known: what changed
	// from one to another is then [Unknown].
	Kernel binary.Version
	// NoX32 says that an amd64 kernel was built without CONFIG_X86_X32_ABI, or booted with
	// syscall.x32=n. Where that is not known, an x32 program is [Unknown].
	NoX32 bool
	// Emulates are the platforms whose programs the host runs by emulation, all variants of
	// them: see [Emulatable]. It is no property of a machine that one should rely on.
	Emulates []platform.Platform
	// CPULevel is the x86-64 level of the CPU, 1 to 4, or zero where it is not known. A
	// variant of the platform ("linux/amd64/v3") says it too.
	CPULevel int
}

// level is the x86-64 level that the host has, or zero.
func (h Host) level() int {
	if h.CPULevel == 0 && h.Platform.Architecture == "amd64" {
		level, _ := strconv.Atoi(strings.TrimPrefix(h.Platform.Variant, "v"))
		return level
	}
	return h.CPULevel
}

// Proof is what [Prove] found.
type Proof struct {
	Verdict  Verdict  `json:"verdict"`
	Evidence Evidence `json:"evidence"`
	// Failure is set exactly when the verdict is [Fails].
	Failure *Failure `json:"failure,omitempty"`
	// Reason is set exactly when the verdict is [Unknown]: what was not modelled or
	// could not be read.
	Reason   string    `json:"reason,omitempty"`
	Steps    []Step    `json:"steps"`
	Warnings []Warning `json:"warnings"`
	// Derived is what a wrapper or a script starts in turn; nil where the program does its
	// own work, or where nothing of that could be followed.
	Derived *Derived `json:"derived,omitempty"`
}

// Failure is how a start fails.
type Failure struct {
	Stage Stage `json:"stage"`
	// Errno is the symbolic name, "ENOEXEC", or empty where there is none.
	Errno string `json:"errno,omitempty"`
	// ExitCode is what docker run exits with, or zero where runtimes differ.
	ExitCode int `json:"exitCode,omitempty"`
	// Message is the runtime's own line.
	Message string `json:"message"`
	// Cause is a stable word for the cause, "wrong-machine".
	Cause string `json:"cause"`
	// Detail is a sentence for people.
	Detail string `json:"detail"`
	Path   string `json:"path,omitempty"`
	// Layer brought the file, CreatedBy is the history entry of that layer.
	Layer     digest.Digest `json:"layer,omitempty"`
	CreatedBy string        `json:"createdBy,omitempty"`
	// Fix is what to change.
	Fix string `json:"fix,omitempty"`
}

// Step is one file of the start chain.
type Step struct {
	Path string `json:"path"`
	// Kind is "elf", "script", "symlink", "pe", "macho", "directory", "data", "missing".
	Kind string `json:"kind"`
	// Role is what the file is in the chain: "entrypoint", "interpreter", "loader".
	Role string `json:"role,omitempty"`
	// Platform is what an executable is for, or empty.
	Platform string        `json:"platform,omitempty"`
	Target   string        `json:"target,omitempty"` // of a symlink
	Layer    digest.Digest `json:"layer,omitempty"`
	// Print tells an executable from others by its size and its first 4 KiB, in which linkers
	// leave an ID of the build; empty for what is none. Equal ones are the same program.
	Print digest.Digest `json:"-"`
}

// Warning is something that does not decide the verdict.
type Warning struct {
	Cause  string `json:"cause"`
	Detail string `json:"detail"`
	// Path is the file that it is about, Layer brought it, and CreatedBy is the history entry
	// of that layer; empty where no one file is to blame.
	Path      string        `json:"path,omitempty"`
	Layer     digest.Digest `json:"layer,omitempty"`
	CreatedBy string        `json:"createdBy,omitempty"`
}
