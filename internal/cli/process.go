package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"berth/launch"
)

// processFlags are what a deployment starts instead of what the image says, in the words
// of docker run.
type processFlags struct {
	entrypoint, command, user, workDir string
	env                                []string
}

func (p *processFlags) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.entrypoint, "entrypoint", "", `start this program instead of the image's entrypoint and command: its name, as docker run takes it, or a JSON list '["/app","-v"]'`)
	cmd.Flags().StringVar(&p.command, "command", "", `arguments instead of the image's command: words with shell quotes, 'serve --name "a b"', or a JSON list`)
	cmd.Flags().StringVar(&p.user, "user", "", "start as this user[:group], names or numbers")
	cmd.Flags().StringVar(&p.workDir, "workdir", "", "start in this folder")
	cmd.Flags().StringArrayVar(&p.env, "env", nil, "set a variable, KEY=VALUE (repeatable)")
}

// override is what the flags that were given say.
func (p *processFlags) override(cmd *cobra.Command) (launch.Override, error) {
	o := launch.Override{User: p.user, WorkDir: p.workDir, Env: p.env}
	var err error
	if cmd.Flags().Changed("entrypoint") {
		// docker run takes all of it for one name, and so it fails for '/app -v'.
		one := func(s string) ([]string, error) { return []string{s}, nil }
		if o.Entrypoint, err = listOr(one, p.entrypoint); err != nil {
			return o, usagef("--entrypoint: %w", err)
		}
	}
	if cmd.Flags().Changed("command") {
		if o.Command, err = listOr(shellWords, p.command); err != nil {
			return o, usagef("--command: %w", err)
		}
	}
	for _, kv := range p.env {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" {
			return o, usagef("--env %s says no value: write --env KEY=VALUE (berth passes none of its own environment on)", kv)
		}
	}
	return o, nil
}

// listOr reads a value that is a JSON list of strings, or else whatever other makes of it.
func listOr(other func(string) ([]string, error), value string) ([]string, error) {
	if !strings.HasPrefix(strings.TrimSpace(value), "[") {
		return other(value)
	}
	words := []string{}
	if err := json.Unmarshal([]byte(value), &words); err != nil {
		return nil, fmt.Errorf("%s looks like a JSON list of strings and is none: %w", value, err)
	}
	return words, nil
}

// shellWords splits text as a POSIX shell does, and expands nothing (Shell Command
// Language, 2.2 Quoting). It never returns nil.
func shellWords(text string) ([]string, error) {
	words := []string{}
	var word strings.Builder
	inWord := false
	var quote byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote == '\'' && c != '\'', quote == '"' && c != '"' && c != '\\':
			word.WriteByte(c)
		case c == quote:
			quote = 0
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == '\\' && i+1 == len(text):
			return nil, fmt.Errorf("%s ends in a backslash", text)
		case c == '\\':
			i++
			if quote == '"' && !strings.ContainsRune("$`\"\\\n", rune(text[i])) {
				word.WriteByte('\\')
			}
			if text[i] != '\n' {
				word.WriteByte(text[i])
				inWord = true
			}
		case c == ' ' || c == '\t' || c == '\n':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("%s has a %c that is not closed", text, quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
