package launch

import (
	"archive/tar"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/imagetest"
)

// layerCases are images of several layers, whose merge decides the start.
func layerCases() []scenario {
	const loader = "lib64/ld-linux-x86-64.so.2"
	type layer = []imagetest.File
	base := one(exe("app", static))
	merged := one(dir("usr", 0o755), dir("usr/lib64", 0o755), dir("usr/bin", 0o755), link("lib64", "usr/lib64"), link("bin", "usr/bin"), exe("usr/"+loader, sharedObject), exe("usr/bin/p", static), exe("app", dynamic))
	gone, hidden := file(".wh.app", 0, ""), file("d/.wh..wh..opq", 0, "")
	in := func(name string, m int64, uid int) imagetest.File {
		return imagetest.File{Name: name, Mode: m, Body: static, UID: uid}
	}
	hard := func(name, to string) imagetest.File {
		return imagetest.File{Name: name, Link: to, Type: tar.TypeLink}
	}
	const absent = "fails create ENOENT " + CauseNotFound
	const refused = "fails create - " + CauseUnpack
	// In these a layer has a path twice.
	strict := map[string]bool{"a file, then its whiteout, in one layer": true, "the same path twice in a layer": true, "a folder twice in a layer": true}
	var all []scenario
	add := func(name, start, want string, layers ...layer) {
		all = append(all, scenario{name: name, layers: layers, process: run(start), want: want})
	}
	as := func(name, user, start, want string, layers ...layer) {
		all = append(all, scenario{name: name, layers: layers, process: v1.ImageConfig{Entrypoint: []string{start}, User: user}, want: want})
	}
	add("a file whited out", "/app", absent, base, one(gone))
	add("a file whited out, and brought again", "/app", "starts", base, one(gone), base)
	add("a whiteout, then the file, in one layer", "/app", "starts", one(exe("app", "")), append(one(gone), base...))
	add("a file, then its whiteout, in one layer", "/app", refused, base, append(base[:1:1], gone))
	add("a whiteout of nothing", "/app", "starts", base, one(file(".wh.nothing", 0, "")))
	add("a folder whited out", "/d/app", absent, one(dir("d", 0o755), exe("d/app", static)), one(file(".wh.d", 0, "")))
	add("a folder whited out, then a file in it, in one layer", "/d/app", "starts", one(dir("d", 0o755), exe("d/app", ""), exe("d/b", "")), one(file(".wh.d", 0, ""), dir("d", 0o755), exe("d/app", static)))
	add("a whiteout of a link's target", "/app", absent, one(exe("p", static), link("app", "p")), one(file(".wh.p", 0, "")))
	add("a whiteout of a link, not of its target", "/p", "starts", one(exe("p", static), link("app", "p")), one(gone))
	add("a whiteout through a link to a folder", "/usr/bin/p", "starts", merged, one(file("bin/.wh.p", 0, "")))
	add("a whiteout through a link to a folder makes it one", "/bin/p", absent, merged, one(file("bin/.wh.p", 0, "")))
	add("an opaque folder", "/d/app", absent, one(dir("d", 0o755), exe("d/app", static)), one(dir("d", 0o755), hidden))
	add("an opaque folder with a file of its own", "/d/app", "starts", one(dir("d", 0o755), exe("d/app", "")), one(dir("d", 0o755), hidden, exe("d/app", static)))
	add("an opaque folder, marked at the end", "/d/app", "starts", one(dir("d", 0o755), exe("d/app", "")), one(dir("d", 0o755), exe("d/app", static), hidden))
	add("an opaque folder, marked at the end, hides the lower layer", "/d/old", absent, one(dir("d", 0o755), exe("d/old", static)), one(dir("d", 0o755), exe("d/app", static), hidden))
	add("an opaque mark without the folder", "/d/app", absent, one(dir("d", 0o755), exe("d/app", static)), one(hidden))
	add("a file over a folder", "/d/app", "fails create ENOTDIR "+CausePath, one(dir("d", 0o755), exe("d/app", static)), one(exe("d", static)))
	add("a folder over a file", "/app", "fails create EISDIR "+CauseDirectory, base, one(dir("app", 0o755)))
	add("a folder over a file, then a program in it", "/app/app", "starts", base, one(dir("app", 0o755), exe("app/app", static)))
	add("a folder over a link", "/app", "fails exec ENOENT "+CauseMissingLoader, merged, one(dir("lib64", 0o755)))
	add("usr-merge destroyed by an implied folder", "/app", "fails exec ENOENT "+CauseMissingLoader, merged, one(file("lib64/other.so", 0o644, "x")))
	add("usr-merge kept by a file below usr", "/app", "starts", merged, one(file("usr/lib64/other.so", 0o644, "x")))
	add("usr-merge destroyed, and the loader brought again", "/app", "starts", merged, one(exe(loader, sharedObject)))
	add("usr-merge destroyed two layers below", "/bin/p", absent, merged, one(file("bin/x", 0o755, "x")), one(file("etc/x", 0o644, "x")))
	add("a link over a folder", "/d/app", "starts", one(dir("d", 0o755), exe("d/app", ""), exe("o/app", static)), one(link("d", "o")))
	add("a link over a folder hides what is in it", "/d/app", absent, one(dir("d", 0o755), exe("d/app", static), dir("o", 0o755)), one(link("d", "o")))
	add("a link replaced by another", "/app", "starts", one(link("app", "old"), exe("old", ""), exe("new", static)), one(link("app", "new")))
	add("a link replaced by a file", "/app", "starts", one(link("app", "old"), exe("old", "")), base)
	add("a file replaced by a dangling link", "/app", absent, base, one(link("app", "nowhere")))
	add("a link to what an upper layer brings", "/app", "starts", one(link("app", "opt/p")), one(exe("opt/p", static)))
	add("a hard link within a layer", "/app", "starts", one(exe("p", static), hard("app", "p")))
	add("a hard link whose other name an upper layer removes", "/app", "starts", one(exe("p", static), hard("app", "p")), one(file(".wh.p", 0, "")))
	add("a hard link to a file of a lower layer", "/app", refused, one(exe("p", static)), one(hard("app", "p")))
	add("a hard link before its file", "/app", refused, one(hard("app", "p"), exe("p", static)))
	add("a mode taken away", "/app", "fails create EACCES "+CauseNotExecutable, base, one(file("app", 0o644, static)))
	add("a mode given", "/app", "starts", one(file("app", 0o644, static)), base)
	as("an owner changed", "1000", "/app", "fails create EACCES "+CauseNotExecutable, one(in("app", 0o700, 1000)), one(in("app", 0o700, 0)))
	as("a folder closed by an upper layer", "1000", "/d/app", "fails create EACCES "+CauseNoAccess, one(dir("d", 0o755), exe("d/app", static)), one(dir("d", 0o700)))
	as("a folder opened by an upper layer", "1000", "/d/app", "starts", one(dir("d", 0o700), exe("d/app", static)), one(dir("d", 0o755)))
	as("parents that no layer has an entry for", "1000", "/a/b/app", "starts", one(exe("a/b/app", static)))
	add("the same path twice in a layer", "/app", refused, one(exe("app", ""), exe("app", static)))
	add("a folder twice in a layer", "/d/app", refused, one(dir("d", 0o755), exe("d/app", static), dir("d", 0o700)))
	add("a name above the root", "/app", "starts", one(exe("../../app", static)))
	add("an absolute name", "/app", "starts", one(exe("/app", static)))
	add("a name with a dot", "/app", "starts", one(dir("./", 0o755), exe("./app", static)))
	add("a name with two slashes", "/d/app", "starts", one(exe("d//app", static)))
	add("a file of aufs", "/app", "starts", base, one(file(".wh..wh.aufs", 0o644, ""), dir(".wh..wh.plnk", 0o755)))
	add("a layer without a file", "/app", "starts", base, layer{}, one(file("x", 0o644, "")))
	add("a pipe over a file", "/app", "fails exec EACCES "+CauseDirectory, base, one(imagetest.File{Name: "app", Mode: 0o755, Type: tar.TypeFifo}))
	add("three versions of a file", "/app", "starts", one(exe("app", "")), one(exe("app", "old")), base)
	add("the lower of three layers is hidden", "/app", "fails exec ENOEXEC "+CauseEmptyFile, base, base, one(exe("app", "")))
	for i := range all {
		all[i].strict = strict[all[i].name]
	}
	return all
}
