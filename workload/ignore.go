package workload

import (
	"regexp"
	"strings"
)

// ignoreComment is "# berth:ignore RULE reason", or with "//".
var ignoreComment = regexp.MustCompile(`^(.*?)(?:#|//)\s*berth:ignore\b[ \t]*(\S*)[ \t]*(.*)$`)

// commentIgnores reads the comments that say not to report a rule: on the line itself,
// or on the lines before it.
func (r *reader) commentIgnores() {
	for n := 1; n <= r.Lines(); n++ {
		text := r.Line(n)
		if !strings.Contains(text, "berth:ignore") {
			continue
		}
		m := ignoreComment.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		line := n
		if strings.TrimSpace(m[1]) == "" {
			for line++; line <= r.Lines() && commentOrEmpty(r.Line(line)); line++ {
			}
		}
		r.ignore(Ignore{Rule: m[2], Reason: strings.TrimSpace(m[3]), Pos: r.Pos(n, len([]rune(m[1]))+1), Line: line})
	}
}

func commentOrEmpty(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "//")
}

// ignore adds i, which needs a rule and a reason.
func (r *reader) ignore(i Ignore) {
	switch {
	case i.Rule == "":
		r.broken(i.Pos, "berth:ignore names no rule: write berth:ignore RULE REASON")
	case i.Reason == "":
		r.broken(i.Pos, "berth:ignore %s gives no reason: write berth:ignore %s REASON", i.Rule, i.Rule)
	default:
		r.out.Ignores = append(r.out.Ignores, i)
	}
}

// IgnoreAnnotation is the annotation of a Kubernetes object that says not to report
// rules: a line "RULE REASON" each.
const IgnoreAnnotation = "berth/ignore"

// ignoreLines reads lines "RULE REASON", which hold for w.
func (r *reader) ignoreLines(n Node, w *Workload) {
	for line := range strings.Lines(n.Text()) {
		rule, reason, _ := strings.Cut(strings.TrimSpace(line), " ")
		if rule != "" {
			r.ignore(Ignore{Rule: strings.TrimSuffix(rule, ":"), Reason: strings.TrimSpace(reason), Pos: n.Pos(), Workload: w})
		}
	}
}
