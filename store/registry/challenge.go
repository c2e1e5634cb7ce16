package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// challenge is what a registry wants to be shown: one challenge of a
// WWW-Authenticate header (RFC 9110, section 11.6.1).
type challenge struct {
	// scheme is in lower case: bearer, basic.
	scheme string
	// params have their names in lower case.
	params map[string]string
}

// maxChallenge bounds a WWW-Authenticate header; those of registries are under
// 1 KiB.
const maxChallenge = 8 << 10

// chooseChallenge returns the first challenge that can be met. A registry may
// offer others besides, Negotiate for one.
func chooseChallenge(header http.Header) (challenge, error) {
	values := header.Values("WWW-Authenticate")
	if len(values) == 0 {
		return challenge{}, errors.New("it does not say how to authenticate (no WWW-Authenticate header)")
	}
	var schemes []string
	for _, value := range values {
		challenges, err := parseChallenges(value)
		if err != nil {
			return challenge{}, fmt.Errorf("its WWW-Authenticate header cannot be read: %w", err)
		}
		for _, c := range challenges {
			if c.scheme == "basic" || c.scheme == "bearer" {
				return c, nil
			}
			schemes = append(schemes, printable(c.scheme))
		}
	}
	return challenge{}, fmt.Errorf("it wants %s, and only Basic and Bearer are known", strings.Join(schemes, ", "))
}

// parseChallenges reads the value of one header, which may hold several challenges:
//
//	challenges = challenge *( "," challenge )
//	challenge  = scheme [ 1*SP ( token68 / [ param *( "," param ) ] ) ]
//	param      = token "=" ( token / quoted-string )
//
// Values of parameters that should have been quoted (a URL) are taken up to the
// next comma or blank. A parameter given twice is an error: it is not said which
// one counts, and one of them is a realm.
func parseChallenges(s string) ([]challenge, error) {
	if len(s) > maxChallenge {
		return nil, fmt.Errorf("it has %d bytes; at most %d are read", len(s), maxChallenge)
	}
	var all []challenge
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			if len(all) == 0 {
				return nil, errors.New("it is empty")
			}
			return all, nil
		}
		word, rest := cutToken(s)
		if word == "" {
			return nil, fmt.Errorf("a name was expected at %q", shorten(s))
		}
		if strings.HasPrefix(strings.TrimLeft(rest, " \t"), "=") && len(all) > 0 {
			var err error
			if s, err = all[len(all)-1].param(word, rest); err != nil {
				return nil, err
			}
			continue
		}
		if rest != "" && rest[0] != ' ' && rest[0] != '\t' && rest[0] != ',' {
			return nil, fmt.Errorf("a scheme was expected at %q", shorten(s))
		}
		all = append(all, challenge{scheme: strings.ToLower(word), params: map[string]string{}})
		s = skipToken68(rest)
	}
}

// skipToken68 skips the data that schemes such as Negotiate have in the place of
// parameters; s is what follows the scheme.
func skipToken68(s string) string {
	trimmed := strings.TrimLeft(s, " \t")
	end := strings.IndexAny(trimmed, " \t,")
	if end < 0 {
		end = len(trimmed)
	}
	data := strings.TrimRight(trimmed[:end], "=")
	after := strings.TrimLeft(trimmed[end:], " \t")
	if data == "" || strings.ContainsAny(data, `="`) || after != "" && after[0] != ',' {
		return s
	}
	return after
}

// param reads "=value" into c and returns what follows.
func (c *challenge) param(name, s string) (rest string, err error) {
	s = strings.TrimLeft(strings.TrimLeft(s, " \t")[1:], " \t")
	var value string
	if strings.HasPrefix(s, `"`) {
		if value, rest, err = cutQuoted(s); err != nil {
			return "", err
		}
	} else {
		end := strings.IndexAny(s, ", \t")
		if end < 0 {
			end = len(s)
		}
		value, rest = s[:end], s[end:]
	}
	if after := strings.TrimLeft(rest, " \t"); after != "" && after[0] != ',' {
		return "", fmt.Errorf("a comma was expected at %q", shorten(after))
	}
	name = strings.ToLower(name)
	if _, twice := c.params[name]; twice {
		return "", fmt.Errorf("%s is given twice", name)
	}
	c.params[name] = value
	return rest, nil
}

// cutQuoted cuts a quoted-string off s and returns what it means.
func cutQuoted(s string) (value, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			i++
			if i == len(s) {
				return "", "", errors.New("a quoted value does not end")
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", errors.New("a quoted value does not end")
}

// cutToken cuts the longest token (RFC 9110, section 5.6.2) off s.
func cutToken(s string) (token, rest string) {
	end := 0
	for end < len(s) && isTokenByte(s[end]) {
		end++
	}
	return s[:end], s[end:]
}

func isTokenByte(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}
