package launch

// What a [Failure] can be caused by. They are stable: scripts may compare them.
const (
	CauseNoCommand          = "no-command"           // neither entrypoint nor command
	CauseUnpack             = "cannot-unpack"        // engines refuse to unpack a layer
	CauseUnknownUser        = "unknown-user"         // USER is not in /etc/passwd
	CauseUnknownGroup       = "unknown-group"        // its group is not in /etc/group
	CauseWorkingDir         = "bad-working-dir"      // WORKDIR is no folder
	CauseNotFound           = "not-found"            // no such file, or none in PATH
	CauseNotExecutable      = "not-executable"       // mode bits
	CauseDirectory          = "is-a-directory"       // a folder, or another file that is not regular
	CauseNoAccess           = "no-access"            // a folder on the way, or a script, is closed to the user
	CausePath               = "bad-path"             // too many links, too long, or through a file
	CauseRelativePath       = "relative-path-entry"  // found through a relative entry of PATH
	CauseWrongMachine       = "wrong-machine"        // an ELF executable for another machine
	CauseMalformedELF       = "malformed-elf"        // an ELF file that the kernel refuses
	CauseObjectFile         = "object-file"          // an ELF file that is no executable
	CauseWindowsExecutable  = "windows-executable"   // PE
	CauseMachO              = "mach-o"               // macOS
	CauseNoShebang          = "no-shebang"           // a script without its first line
	CauseByteOrderMark      = "byte-order-mark"      // before the shebang, or UTF-16
	CauseEmptyFile          = "empty-file"           // nothing in it
	CauseLFSPointer         = "git-lfs-pointer"      // git lfs pull was not run
	CauseCompressed         = "compressed-file"      // gzip or zip
	CauseNotAProgram        = "not-a-program"        // no executable format
	CauseBadShebang         = "bad-shebang"          // a first line that names no interpreter
	CauseCRLFShebang        = "crlf-shebang"         // its line ends in a carriage return
	CauseMissingInterpreter = "missing-interpreter"  // of a script
	CauseBadInterpreter     = "bad-interpreter"      // of a script: not executable, a folder
	CauseShebangLoop        = "shebang-loop"         // more than 5 scripts in a row
	CauseMissingLoader      = "missing-loader"       // what PT_INTERP names
	CauseBadLoader          = "bad-loader"           // not executable, or no loader
	CauseWrongMachineLoader = "wrong-machine-loader" // a loader for another machine
	CauseSegmentLayout      = "segment-layout"       // it cannot be mapped
	CauseMissingLibrary     = "missing-library"      // of a dynamic executable
	CauseBadLibrary         = "bad-library"          // a file that is no library
	CauseSymbolVersion      = "symbol-version"       // a library is older than what was built against
	CauseCPULevel           = "cpu-level"            // it needs a newer CPU; a warning where the host's is not known
)

// What a [Warning] can be about.
const (
	CauseLibraries    = "libraries-not-checked" // of a dynamic executable, not all of them
	CauseNotFollowed  = "command-not-followed"  // what a wrapper or a script starts
	CausePageSize     = "page-size"             // it needs smaller pages than some hosts have
	CauseEmulated     = "emulated"              // it runs under emulation alone
	CauseLinkReplaced = "link-replaced"         // a layer made a folder of a link, and hid what it led to
)
