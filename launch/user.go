package launch

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"berth/rootfs"
)

// maxAccounts bounds /etc/passwd and /etc/group. Real ones have a few KiB.
const maxAccounts = 1 << 20

// maxID is the largest user or group id that engines take: maxID of
// github.com/moby/sys/user.
const maxID = 1<<31 - 1

// credential is who the process runs as.
type credential struct {
	uid int
	// group is the group that USER names, or empty; account is the name of the
	// user's entry in /etc/passwd, once it was looked up.
	group, account string
	// gid and groups are known once grouped is true: for a numeric user they are
	// looked up only where a mode turns on them, because reading /etc/passwd
	// can cost whole layers.
	grouped bool
	gid     int
	groups  []int
}

// The permission bits that are asked for, as the low three bits of a mode.
const (
	mayExec fs.FileMode = 1
	mayRead fs.FileMode = 4
)

// may is generic_permission of fs/namei.c. Root has the capabilities that Docker and
// containerd give by default, CAP_DAC_OVERRIDE among them: all but executing a file
// that nobody may execute.
func (p *prover) may(info *rootfs.Info, want fs.FileMode) (bool, error) {
	if p.cred.uid == 0 {
		return want != mayExec || info.Mode.IsDir() || info.Mode.Perm()&0o111 != 0, nil
	}
	ok, err := p.allows(info, want)
	perms, differs := p.fsys.(permFS)
	if err != nil || !info.Implied || !differs {
		return ok, err
	}
	// Docker's answer; containerd's may be another.
	other, err := perms.Perm(p.ctx, info.Path)
	if err != nil {
		return false, err
	}
	if also, err := p.allows(other, want); err != nil || also == ok {
		return ok, err
	}
	return false, unknown("Docker and containerd give the folder %s different modes, because the layer that has something in it has no entry for it", printable(info.Path))
}

// allows is may for a user that is not root, by the mode and owner of info alone.
func (p *prover) allows(info *rootfs.Info, want fs.FileMode) (bool, error) {
	mode := info.Mode.Perm()
	if info.UID == p.cred.uid {
		return mode>>6&want == want, nil
	}
	asGroup, asOther := mode>>3&want == want, mode&want == want
	if asGroup == asOther {
		return asOther, nil
	}
	if err := p.lookUpGroups(); err != nil {
		return false, err
	}
	if info.GID == p.cred.gid || slices.Contains(p.cred.groups, info.GID) {
		return asGroup, nil
	}
	return asOther, nil
}

// user finds out who the process runs as: GetExecUser of github.com/moby/sys/user, by
// which Docker, containerd and CRI-O read the USER of an image.
func (p *prover) user() error {
	fields := strings.SplitN(p.process.User, ":", 3)
	name := fields[0]
	if len(fields) > 1 {
		p.cred.group = fields[1]
	}
	for _, id := range []string{name, p.cred.group} {
		if n, err := strconv.Atoi(id); errors.Is(err, strconv.ErrRange) || err == nil && (n < 0 || n > maxID) {
			return p.userFailed("uids and gids must be in range 0-"+strconv.Itoa(maxID), CauseUnknownUser,
				"USER is "+strconv.Quote(p.process.User)+", and engines take ids from 0 to 2147483647", nil)
		}
	}
	uid, err := strconv.Atoi(name)
	switch {
	case name == "":
	case err == nil:
		p.cred.uid = uid
	default:
		entry, passwd, err := p.account(func(f []string) bool { return field(f, 0) == name })
		if err != nil {
			return err
		}
		if entry == nil {
			return p.userFailed("unable to find user "+name+": no matching entries in passwd file", CauseUnknownUser,
				"USER is "+strconv.Quote(p.process.User)+", and /etc/passwd of the image has no such user", passwd)
		}
		p.cred.uid = number(entry, 2)
		p.cred.gid, p.cred.account = number(entry, 3), name
	}
	if _, err := strconv.Atoi(p.cred.group); p.cred.group != "" && err != nil {
		// A group by name must be there, whoever the user is.
		return p.lookUpGroups()
	}
	return nil
}

// lookUpGroups finds out which groups the process is in.
func (p *prover) lookUpGroups() error {
	if p.cred.grouped {
		return nil
	}
	p.cred.grouped = true
	if gid, err := strconv.Atoi(p.cred.group); err == nil {
		p.cred.gid = gid
		return nil
	}
	if p.cred.group != "" {
		entry, file, err := p.group(func(f []string) bool { return field(f, 0) == p.cred.group })
		if err != nil {
			return err
		}
		if entry == nil {
			return p.userFailed("unable to find group "+p.cred.group+": no matching entries in group file", CauseUnknownGroup,
				"USER is "+strconv.Quote(p.process.User)+", and /etc/group of the image has no such group", file)
		}
		p.cred.gid = number(entry[0], 2)
		return nil
	}
	if p.cred.account == "" {
		entry, _, err := p.account(func(f []string) bool { return number(f, 2) == p.cred.uid })
		if err != nil || entry == nil {
			return err
		}
		p.cred.account, p.cred.gid = field(entry, 0), number(entry, 3)
	}
	entries, _, err := p.group(func(f []string) bool {
		return slices.Contains(strings.Split(field(f, 3), ","), p.cred.account)
	})
	for _, e := range entries {
		p.cred.groups = append(p.cred.groups, number(e, 2))
	}
	return err
}

// account returns the first entry of /etc/passwd that matches, and the file.
func (p *prover) account(match func([]string) bool) ([]string, *rootfs.Info, error) {
	entries, info, err := p.accounts("/etc/passwd", match)
	if err != nil || len(entries) == 0 {
		return nil, info, err
	}
	return entries[0], info, nil
}

// group returns the entries of /etc/group that match, and the file.
func (p *prover) group(match func([]string) bool) ([][]string, *rootfs.Info, error) {
	return p.accounts("/etc/group", func(f []string) bool {
		return !strings.HasPrefix(f[0], "#") && match(f)
	})
}

// accounts returns the matching lines of an account file, in their fields. Engines
// ignore a file that is not there or cannot be opened.
func (p *prover) accounts(name string, match func([]string) bool) ([][]string, *rootfs.Info, error) {
	f, fault, err := p.engine().resolve(name)
	if err != nil || fault != nil || !f.info.Mode.IsRegular() {
		return nil, nil, err
	}
	if f.info.Size > maxAccounts {
		return nil, f.info, unknown("%s has more than %d bytes", name, maxAccounts)
	}
	raw, err := p.head(f.info, int(f.info.Size))
	if err != nil {
		return nil, f.info, err
	}
	var entries [][]string
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if fields := strings.Split(line, ":"); line != "" && match(fields) {
			entries = append(entries, fields)
		}
	}
	if lines.Err() != nil {
		// The same scanner, with the same limit, is what engines use for users.
		return nil, f.info, unknown("%s has a line of more than %d bytes", name, bufio.MaxScanTokenSize)
	}
	return entries, f.info, nil
}

// engine is p as the engine looks at the image before it starts: as root, from the
// root folder.
func (p *prover) engine() *prover {
	e := *p
	e.cred, e.cwd = credential{}, nil
	return &e
}

func (p *prover) userFailed(message, cause, detail string, file *rootfs.Info) error {
	f := Failure{
		Stage: StageCreate, ExitCode: 125, Message: message, Cause: cause, Detail: detail,
		Fix: "create it in the Dockerfile before USER (RUN useradd or adduser), or give its number, which needs no entry",
	}
	if file != nil {
		p.blame(&f, file)
	}
	return fails(f)
}

// field is a field of an entry, empty where it has fewer.
func field(entry []string, i int) string {
	if i >= len(entry) {
		return ""
	}
	return entry[i]
}

// number is a field as a number; engines read what is none as zero.
func number(entry []string, i int) int {
	n, _ := strconv.Atoi(field(entry, i))
	return n
}
