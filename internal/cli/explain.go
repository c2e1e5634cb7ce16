package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"berth/check"
	"berth/explain"
	"berth/image"
	"berth/launch"
	"berth/platform"
	"berth/store"
	"berth/target"
)

func (a *app) explain() *cobra.Command {
	var imageFlag, forFlag, platformFlag string
	var process processFlags
	cmd := &cobra.Command{
		Use:   "explain [TEXT…]",
		Short: "Explain an error text: what happened, on what evidence, what to do",
		Long: `Explain an error text of a container that did not come up: what it means, what it
can come from, and what to type. The text is the argument or standard input: whole
logs, as Docker, Kubernetes, ECS, Lambda, Cloud Run and others write them.

With --image, berth proves from the image's bytes what happens at start, rules
causes in and out, and names the file, the layer and the Dockerfile line. Where it
ran is --for, or --platform, or what the text says of it, or else each platform of
the image in turn. A text and a proof that disagree are both shown.

Exit codes: 0 it was explained, whatever the explanation; 2 wrong usage; 3 the text
is not known, or the image could not be read or proven. To gate on an image, use
berth check.`,
		Example: `berth explain 'exec /app: exec format error'
kubectl logs web-0 --previous | berth explain --image HOST/app:v1 --for eks/arm64
berth explain --image HOST/app:v1 --for fargate < stopped-reason.txt`,
		Args: func(*cobra.Command, []string) error { return nil },
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := a.format()
			if err != nil {
				return err
			}
			if forFlag != "" && platformFlag != "" {
				return usagef("--for %s and --platform %s both say where it ran: write one of them", forFlag, platformFlag)
			}
			if imageFlag == "" && (forFlag != "" || platformFlag != "") {
				return usagef("--for and --platform are about an image: add --image IMAGE")
			}
			override, err := process.override(cmd)
			if err != nil {
				return err
			}
			if imageFlag == "" && !override.IsZero() {
				return usagef("--entrypoint, --command, --user, --workdir and --env are about an image: add --image IMAGE")
			}
			text, err := a.errorText(args)
			if err != nil {
				return err
			}
			reading := explain.Recognise(text)
			var subjects []explain.Subject
			if imageFlag != "" {
				needs, err := a.ranOn(reading, forFlag, platformFlag)
				if err != nil {
					return err
				}
				if subjects, err = a.subjects(cmd.Context(), reading, imageFlag, needs, override); err != nil {
					return err
				}
			}
			e := explain.Explain(reading, subjects)
			if err := f.Explanation(e); err != nil {
				return err
			}
			if e.Conclusion == explain.Unrecognised || e.Conclusion == explain.Unknown {
				return errUnknown
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&imageFlag, "image", "", "the image that failed")
	cmd.Flags().StringVar(&forFlag, "for", "", "the deploy target that it failed on: NAME[/ARCH] or a platform")
	cmd.Flags().StringVar(&platformFlag, "platform", "", "the platform of the host that it failed on (os/arch[/variant])")
	a.targetsFlag(cmd)
	a.cacheFlag(cmd)
	process.flags(cmd)
	return cmd
}

// errorText is the text to explain: the arguments, or standard input, of which the end
// is enough.
func (a *app) errorText(args []string) (string, error) {
	text := strings.Join(args, " ")
	if len(args) == 0 {
		if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return "", usagef("explain needs a text: write it as an argument, or pipe a log in (docker logs NAME 2>&1 | berth explain)")
		}
		raw, err := tail(a.stdin, explain.MaxText)
		if err != nil {
			return "", fmt.Errorf("reading standard input: %w", err)
		}
		text = string(raw)
	}
	if strings.TrimSpace(text) == "" {
		return "", usagef("explain got an empty text: does the command before it write to standard error? (2>&1)")
	}
	return text, nil
}

// tail reads r to its end and returns a little more than the last n bytes, so that
// whoever cuts them to n knows that something is missing.
func tail(r io.Reader, n int) ([]byte, error) {
	var kept []byte
	chunk := make([]byte, 64<<10)
	for {
		read, err := r.Read(chunk)
		kept = append(kept, chunk[:read]...)
		if len(kept) > 4*n {
			kept = append([]byte(nil), kept[len(kept)-2*n:]...)
		}
		if errors.Is(err, io.EOF) {
			return kept, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// ranOn is where it ran: what the flags say, or else the text. It is nil where neither
// does.
func (a *app) ranOn(r explain.Reading, forFlag, platformFlag string) ([]target.Need, error) {
	if platformFlag != "" {
		p, err := platform.Parse(platformFlag)
		if err != nil {
			return nil, usageError{err}
		}
		return []target.Need{{Platform: p, Why: "asked for"}}, nil
	}
	if forFlag != "" {
		return a.needs([]string{forFlag})
	}
	set, err := a.targetSet()
	if err != nil {
		return nil, err
	}
	var said platform.Platform
	for _, s := range r.Said {
		if platform.Known(s.Wanted) {
			said = s.Wanted
			break
		}
	}
	if platform.Known(said) {
		// A target may not run what a text about it says: then the platform alone counts.
		if need, err := set.Need(r.Target + "/" + platform.Format(said)); r.Target != "" && err == nil {
			need.Why = "the text names it"
			return []target.Need{need}, nil
		}
		return []target.Need{{Platform: said, Why: "the text names it"}}, nil
	}
	if need, err := set.Need(r.Target); r.Target != "" && err == nil {
		need.Why = "the text is from " + need.Target.Title + ", " + need.Why
		return []target.Need{need}, nil
	}
	return nil, nil
}

// subjects opens and proves the image, for each need or, without any, for each of its
// own platforms. What could not be read is in them; the error is wrong usage or that
// of ctx.
func (a *app) subjects(ctx context.Context, r explain.Reading, name string, needs []target.Need, override launch.Override) ([]explain.Subject, error) {
	ref, err := store.ParseReference(name)
	if err != nil {
		return nil, usageError{err}
	}
	src, err := a.source(ctx, ref)
	var im *image.Image
	if err == nil {
		im, err = image.Open(ctx, src, ref.Identifier())
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	assumed := len(needs) == 0
	if err != nil {
		if assumed {
			needs = []target.Need{{}}
		}
		return []explain.Subject{{Subject: &check.Subject{Reference: ref, Name: name, Need: needs[0], Err: err}}}, nil
	}
	if assumed {
		for _, p := range im.Platforms() {
			needs = append(needs, target.Need{Platform: p, Why: "the image has it"})
		}
	}
	if len(needs) == 0 {
		return nil, usageError{fmt.Errorf("%s: it has no image in it, so there is nothing to explain", name)}
	}
	var facts []*check.Subject
	for _, need := range needs {
		s := &check.Subject{Reference: ref, Name: name, Need: need, Override: override, Image: im}
		s.Select()
		if s.Selected == nil && !im.IsIndex && len(im.Manifests) == 1 && im.Manifests[0].Kind == image.KindImage {
			// Engines take a lone manifest of whatever platform.
			s.Selected = im.Manifests[0]
		}
		facts = append(facts, s)
	}
	prover := a.prover(nil)
	prover.Subjects(ctx, src, facts)
	var subjects []explain.Subject
	for _, fact := range facts {
		s := explain.Subject{Subject: fact, Assumed: assumed}
		if program, ok := r.OtherProgram(fact.Start); ok {
			named := prover
			named.Override = override
			named.Override.Entrypoint, named.Override.Command = []string{program}, nil
			s.Named = named.Prove(ctx, src, fact.Selected, check.HostOf(fact.Need))
		}
		subjects = append(subjects, s)
	}
	return subjects, ctx.Err()
}
