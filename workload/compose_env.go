package workload

import (
	"regexp"
	"strings"
)

// composeEnv is what variables of a Compose file are replaced by; the first that has one
// wins: what docker compose itself was given, then .env, then those of files included.
type composeEnv []map[string]string

func (e composeEnv) lookup(name string) (string, bool) {
	for _, vars := range e {
		if value, ok := vars[name]; ok {
			return value, true
		}
	}
	return "", false
}

// over is e over further variables.
func (e composeEnv) over(vars map[string]string) composeEnv {
	return append(e[:len(e):len(e)], vars)
}

// composeVariable is the name of one; what may follow it in braces is an operator with a word
// (docs.docker.com/reference/compose-file/interpolation/).
var composeVariable = regexp.MustCompile(`^[_a-zA-Z][_a-zA-Z0-9]*`)

// maxInterpolated bounds a string whose variables are replaced: each line of an .env file
// can double the one before. Values of variables stay below a page.
const maxInterpolated = 64 << 10

// interpolate replaces the variables of a string. unknown says why it cannot be known: a
// variable without a value and without a default, for which docker compose takes the empty
// string and warns.
func (e composeEnv) interpolate(s string) (text, unknown string) {
	return e.interpolateDeep(s, 0)
}

func (e composeEnv) interpolateDeep(s string, depth int) (text, unknown string) {
	if !strings.Contains(s, "$") {
		return s, ""
	}
	if depth > maxDepth {
		return "", "its variables are nested too deep"
	}
	var b strings.Builder
	for s != "" {
		if b.Len() > maxInterpolated {
			return "", "its variables make it too long"
		}
		at := strings.IndexByte(s, '$')
		if at < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:at])
		s = s[at+1:]
		switch {
		case strings.HasPrefix(s, "$"):
			b.WriteByte('$')
			s = s[1:]
		case strings.HasPrefix(s, "{"):
			end := closingBrace(s)
			if end < 0 {
				return "", "the braces of a variable are not closed"
			}
			value, why := e.braced(s[1:end], depth)
			if why != "" {
				return "", why
			}
			b.WriteString(value)
			s = s[end+1:]
		default:
			name := composeVariable.FindString(s)
			if name == "" {
				return "", "a dollar sign that stands for itself is written $$"
			}
			value, ok := e.lookup(name)
			if !ok {
				return "", notSet(name)
			}
			b.WriteString(value)
			s = s[len(name):]
		}
	}
	return b.String(), ""
}

func notSet(name string) string { return "the variable " + name + " is not set, and has no default" }

// closingBrace is where the brace that s begins with is closed, or -1.
func closingBrace(s string) int {
	open := 0
	for i := range len(s) {
		switch {
		case s[i] == '}':
			if open--; open == 0 {
				return i
			}
		case s[i] == '{':
			open++
		}
	}
	return -1
}

// braced is what ${…} is replaced by.
func (e composeEnv) braced(s string, depth int) (text, unknown string) {
	name := composeVariable.FindString(s)
	if name == "" {
		return "", "${" + s + "} names no variable"
	}
	value, set := e.lookup(name)
	operator, word := s[len(name):], ""
	for _, known := range []string{":-", ":?", ":+", "-", "?", "+"} {
		if strings.HasPrefix(operator, known) {
			operator, word = known, operator[len(known):]
			break
		}
	}
	if strings.HasPrefix(operator, ":") {
		set = set && value != ""
	}
	switch strings.TrimPrefix(operator, ":") {
	case "":
		if !set {
			return "", notSet(name)
		}
	case "-":
		if !set {
			return e.interpolateDeep(word, depth+1)
		}
	case "?":
		if !set {
			return "", "the variable " + name + " has to be set"
		}
	case "+":
		if set {
			return e.interpolateDeep(word, depth+1)
		}
		return "", ""
	default:
		return "", "${" + s + "} is no variable"
	}
	return value, ""
}

// parseDotenv reads KEY=VALUE lines as Compose does
// (docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/#env-file-syntax).
// Lines that say nothing are passed over: docker compose itself complains about them.
func parseDotenv(text string, env composeEnv) map[string]string {
	vars := map[string]string{}
	env = env.over(vars)
	text = strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r\n", "\n")
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		whole := text
		text = rest
		trimmed := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "export "))
		cut := strings.IndexAny(trimmed, "=:")
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if cut < 0 {
			if value, ok := env.lookup(trimmed); ok { // a name alone
				vars[trimmed] = value
			}
			continue
		}
		name, value := strings.TrimSpace(trimmed[:cut]), strings.TrimSpace(trimmed[cut+1:])
		switch {
		case strings.HasPrefix(value, "'"), strings.HasPrefix(value, `"`):
			start := strings.IndexAny(line, "=:") + 1
			start += strings.IndexByte(whole[start:], value[0])
			end := closingQuote(whole[start:], value[0])
			if end < 0 {
				continue
			}
			value = whole[start+1 : start+end]
			_, text, _ = strings.Cut(whole[start+end:], "\n") // it may go over several lines
			if whole[start] == '\'' {
				vars[name] = value
				continue
			}
			value = dotenvEscapes.Replace(value)
		case strings.HasPrefix(value, "#"):
			value = ""
		default:
			if comment := dotenvComment.FindStringIndex(value); comment != nil {
				value = strings.TrimSpace(value[:comment[0]])
			}
		}
		if expanded, unknown := env.interpolate(value); unknown == "" {
			vars[name] = expanded
		}
	}
	return vars
}

var (
	dotenvEscapes = strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t", `\"`, `"`, `\\`, `\`)
	dotenvComment = regexp.MustCompile(`\s#`)
)

// closingQuote is where a quoted value ends, or -1.
func closingQuote(s string, quote byte) int {
	for i := 1; i < len(s); i++ {
		if s[i] == quote && (s[i-1] != '\\' || i >= 2 && s[i-2] == '\\') {
			return i
		}
	}
	return -1
}
