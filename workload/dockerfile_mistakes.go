package workload

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"berth/platform"
)

// mistakes finds what makes an image say another platform than it holds.
func (d *dockerReader) mistakes() {
	if len(d.stages) == 0 {
		return
	}
	for _, i := range d.globals() {
		d.argDefault(i, true)
	}
	for _, s := range d.stages {
		for k, i := range s.body {
			if i.name == "ARG" {
				d.argDefault(i, d.usedAfter(s, s.body[k+1:]))
			}
		}
		d.undeclared(s)
		d.platformConstant(s)
		if !d.oneArchitecture(s) {
			d.goarch(s)
			d.urls(s)
		}
	}
	d.buildPlatformFinal()
}

func (d *dockerReader) mistake(rule string, at int, edits []Edit, message, fix string) {
	d.out.Mistakes = append(d.out.Mistakes, Mistake{Rule: rule, Pos: d.PosAt(at), Message: message, Fix: fix, Edits: edits})
}

func (d *dockerReader) edit(start, end int, text string) []Edit {
	return []Edit{{d.Name, start, end, text}}
}

// globals are the ARGs before the first stage.
func (d *dockerReader) globals() []*instruction {
	all, _, _ := parseDockerfile(d.File)
	end := slices.IndexFunc(all, func(i *instruction) bool { return i.name == "FROM" })
	return slices.DeleteFunc(all[:max(end, 0)], func(i *instruction) bool { return i.name != "ARG" })
}

// usedAfter tells whether anything after an ARG may look at it: what runs has it in its
// environment.
func (d *dockerReader) usedAfter(s *dockerStage, body []*instruction) bool {
	if slices.ContainsFunc(body, func(i *instruction) bool { return i.name == "RUN" || strings.Contains(i.text, "TARGET") }) {
		return true
	}
	return slices.ContainsFunc(d.stages, func(child *dockerStage) bool { return child.parent == s })
}

// argDefault: a default wins over what the builder sets
// (github.com/docker/buildx/issues/510). That of the OS is left out: nearly all images are
// for linux, and it says so.
func (d *dockerReader) argDefault(i *instruction, used bool) {
	if !used {
		return
	}
	for _, word := range i.words {
		name, value, set := strings.Cut(word.text, "=")
		if !set || name == "TARGETOS" || !slices.Contains(targetArgs, name) || unquote(value) == "" && name == "TARGETVARIANT" || strings.Contains(value, name) {
			continue
		}
		value = unquote(value)
		if value == "" {
			value = "nothing"
		}
		d.mistake("dockerfile-target-arg-default", word.start, d.edit(word.start+len(name), word.end, ""),
			fmt.Sprintf("the default of %s pins it to %s: a default wins over what the builder sets, so every platform gets the same program", name, value),
			fmt.Sprintf("write ARG %s without a default; where the builder may not set it, say ${%s:-%s} where it is used", name, name, value))
	}
}

// targetUse is a use of one of those arguments.
var targetUse = regexp.MustCompile(`\$\{?(TARGETPLATFORM|TARGETOS|TARGETARCH|TARGETVARIANT)\b`)

// undeclared: what the builder sets is there in a stage only once ARG declares it
// (docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope). A
// stage has what the stage that it is FROM has declared.
func (d *dockerReader) undeclared(s *dockerStage) {
	declared := map[string]bool{}
	for p := s.parent; p != nil; p = p.parent {
		for _, i := range p.body {
			declare(declared, i)
		}
	}
	if s.parent == nil && !s.image.Known() {
		return // it may be a stage
	}
	insert := d.lineAfter(s.from.end)
	for _, i := range s.body {
		declare(declared, i)
		if i.name == "ONBUILD" || i.name == "ARG" {
			continue
		}
		report := func(text string, offset func(int) int) {
			for _, m := range targetUse.FindAllStringSubmatchIndex(text, -1) {
				name := text[m[2]:m[3]]
				if declared[name] || m[0] > 0 && text[m[0]-1] == '\\' {
					continue
				}
				declared[name] = true // said once a stage
				d.mistake("dockerfile-target-arg-undeclared", offset(m[0]), d.edit(insert, insert, "ARG "+name+d.eol(insert)),
					fmt.Sprintf("%s is empty here: this stage has no ARG %s", name, name),
					fmt.Sprintf("add ARG %s after the FROM of the stage, on line %d", name, s.from.start))
			}
		}
		report(i.text, i.at)
		for _, h := range i.heredocs {
			if !h.quoted || i.name == "RUN" {
				report(h.text, func(k int) int { return h.start + k })
			}
		}
	}
}

// shellSets is how else a shell gives one of them a value.
var shellSets = regexp.MustCompile(`\b(for|read)\s+(-\w+\s+)*TARGET(PLATFORM|OS|ARCH|VARIANT)\b`)

// declare notes what an instruction gives a value to: ARG, ENV, and a shell itself.
func declare(declared map[string]bool, i *instruction) {
	body := i.body()
	for _, name := range targetArgs {
		if !strings.Contains(body, name) {
			continue
		}
		switch i.name {
		case "ARG":
			for _, word := range i.words {
				if arg, _, _ := strings.Cut(word.text, "="); arg == name {
					declared[name] = true
				}
			}
		case "ENV":
			for k, word := range i.words {
				if key, _, set := strings.Cut(word.text, "="); key == name && (set || k == 0) {
					declared[name] = true
				}
			}
		case "RUN":
			if strings.Contains(body, name+"=") || shellSets.MatchString(body) {
				declared[name] = true
			}
		}
	}
}

// lineAfter is the byte where the line after line n begins.
func (d *dockerReader) lineAfter(n int) int {
	if n < len(d.lines) {
		return d.lines[n]
	}
	return len(d.Data)
}

// platformConstant: docs.docker.com/reference/build-checks/from-platform-flag-const-disallowed/,
// with its exception: a stage that is named after its platform.
func (d *dockerReader) platformConstant(s *dockerStage) {
	if s.platform == nil || strings.ContainsAny(s.platform.value, "${") || s.scratch {
		return
	}
	p, err := platform.Parse(s.platform.value)
	if err != nil || p.OS != "linux" || namesPlatform(s.name, p) {
		return // other systems are named where they are built for alone
	}
	start, end := s.platform.start, s.platform.end
	for end < len(d.Data) && (d.Data[end] == ' ' || d.Data[end] == '\t') {
		end++
	}
	message := "the stage is %s whatever is built for"
	if s == d.stages[len(d.stages)-1] {
		message = "the image holds %s whatever it is built for, and is labelled as what it is built for"
	}
	d.mistake("dockerfile-platform-constant", start, d.edit(start, end, ""), fmt.Sprintf(message, platform.Format(p)),
		"leave --platform out, and give docker build the --platform; for a stage that compiles for others, say --platform=$BUILDPLATFORM")
}

// namesPlatform tells whether the name of a stage says what it is for.
func namesPlatform(name string, p platform.Platform) bool {
	name = strings.ToLower(name)
	for _, word := range []string{p.OS, p.Architecture, "x86", "x64", "aarch64", "armv"} {
		if word != "" && strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// oneArchitecture tells whether a stage is meant for one architecture.
func (d *dockerReader) oneArchitecture(s *dockerStage) bool {
	for p := s; p != nil; p = p.parent {
		if p.platform != nil && !strings.Contains(p.platform.value, "TARGET") && !strings.Contains(p.platform.value, "BUILDPLATFORM") {
			return true
		}
		for _, arch := range append(nodeArchitectures, "x86", "aarch64") {
			if strings.Contains(strings.ToLower(p.name), arch) {
				return true
			}
		}
	}
	return false
}

// buildPlatformFinal: the config of an image is made for what is built for, and its files
// are those of the stage (docs.docker.com/build/building/multi-platform/#cross-compilation).
func (d *dockerReader) buildPlatformFinal() {
	for s := d.stages[len(d.stages)-1]; s != nil; s = s.parent {
		if s.platform == nil || strings.Trim(s.platform.value, "${}") != "BUILDPLATFORM" {
			continue
		}
		if s.scratch {
			return // no bytes of any platform
		}
		var edits []Edit
		end := s.platform.end
		for end < len(d.Data) && (d.Data[end] == ' ' || d.Data[end] == '\t') {
			end++
		}
		if s == d.stages[len(d.stages)-1] {
			edits = d.edit(s.platform.start, end, "")
		}
		d.mistake("dockerfile-build-platform-final", s.platform.start, edits,
			"the image is labelled for the platform that is built for, and holds the files of the machine that builds",
			"leave --platform out of the last stage, and copy into it what a stage with --platform=$BUILDPLATFORM has compiled for the target")
		return
	}
}

var (
	goarchConstant = regexp.MustCompile(`\bGOARCH[= ]["']?([a-z0-9]+)\b`)
	fetches        = regexp.MustCompile(`\b(curl|wget)\b`)
	urlToken       = regexp.MustCompile(`https?://[^\s"'<>|;)]+`)
	// urlArchitecture is the name of an architecture as releases have it in theirs.
	urlArchitecture = regexp.MustCompile(`(?i)(^|[-_./])(amd64|x86_64|x86-64|linux64|arm64|aarch64|armv7l?|armhf|i[36]86|ppc64le|s390x)([-_./]|$)`)
	// asks is what a script that looks at the platform has in it.
	asks = regexp.MustCompile(`TARGET(ARCH|PLATFORM|OS|VARIANT)|BUILD(ARCH|PLATFORM)|\buname\b|\barch\b|print-arch|\bhosttype\b|HOSTTYPE|lscpu|GOARCH`)
)

// goarch: a compiler of Go that is told a constant.
func (d *dockerReader) goarch(s *dockerStage) {
	values := map[string]bool{}
	type use struct {
		i     *instruction
		value string
		at    int
		end   int
	}
	var uses []use
	for _, i := range s.body {
		if i.name != "RUN" && i.name != "ENV" && i.name != "ARG" {
			continue
		}
		note := func(text string, offset func(int) int) {
			for _, m := range goarchConstant.FindAllStringSubmatchIndex(text, -1) {
				value := text[m[2]:m[3]]
				values[value] = true
				if slices.Contains(nodeArchitectures, value) && (i.name != "RUN" || text[m[0]+len("GOARCH")] == '=') {
					uses = append(uses, use{i, value, offset(m[0]), offset(m[3])})
				}
			}
		}
		note(i.text, i.at)
		for _, h := range i.heredocs {
			note(h.text, func(k int) int { return h.start + k })
		}
	}
	if len(values) != 1 || len(uses) == 0 {
		return // for each architecture by itself
	}
	u := uses[0]
	if asks.MatchString(strings.ReplaceAll(u.i.body(), "GOARCH", "")) {
		return
	}
	d.mistake("dockerfile-goarch-constant", u.at, nil,
		fmt.Sprintf("GOARCH is %s whatever is built for", u.value),
		"add ARG TARGETARCH to the stage, and write GOARCH=$TARGETARCH")
}

// urls: what is downloaded for one architecture, in the stage that becomes the image.
func (d *dockerReader) urls(s *dockerStage) {
	final := false
	for p := d.stages[len(d.stages)-1]; p != nil; p = p.parent {
		final = final || p == s
	}
	if !final {
		return
	}
	for _, i := range s.body {
		switch {
		case i.name == "RUN" && fetches.MatchString(i.body()) && !asks.MatchString(i.body()):
			d.url(i.text, i.at)
			for _, h := range i.heredocs {
				d.url(h.text, func(k int) int { return h.start + k })
			}
		case i.name == "ADD":
			d.url(i.text, i.at)
		}
	}
}

func (d *dockerReader) url(text string, offset func(int) int) {
	found := map[string]int{}
	at, word := -1, ""
	for _, m := range urlToken.FindAllStringIndex(text, -1) {
		url := text[m[0]:m[1]]
		a := urlArchitecture.FindStringSubmatch(url)
		if a == nil || strings.Contains(url, "$TARGET") || strings.Contains(url, "${TARGET") {
			continue
		}
		found[intended(strings.ToLower(a[2]))]++
		if at < 0 {
			at, word = m[0], a[2]
		}
	}
	if len(found) != 1 {
		return // none, or one for each
	}
	d.mistake("dockerfile-architecture-in-url", offset(at), nil,
		fmt.Sprintf("the download is for %s whatever is built for", word),
		"add ARG TARGETARCH to the stage, and take the file for $TARGETARCH")
}
