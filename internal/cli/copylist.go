package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"berth/report"
	"berth/store"
	"berth/transfer"
)

const (
	// maxListLine bounds a line of a list: a dozen of the longest references.
	maxListLine = 64 << 10
	// maxList bounds the images of a list, whose plans are in memory beside each other
	// only while they run, but whose results all are.
	maxList = 100_000
	// imagesAtOnce is how many images of a list are under way: enough that some send
	// blobs while others are being opened.
	imagesAtOnce = 16
	// jobsShare is what each of them gets of --jobs. They are rarely all at the same
	// point, and what waits for a sibling's blob is no request.
	jobsShare = 4
)

// errListed is what is said in the end of a list of which some images failed, each of
// which was told.
type errListed struct {
	failed, all int
	errs        []error
}

func (e *errListed) Error() string {
	return fmt.Sprintf("%d of %d images are not copied", e.failed, e.all)
}

// Unwrap returns what was told.
func (e *errListed) Unwrap() []error { return e.errs }

// listed is a line of a list.
type listed struct {
	*copying
	to   []store.Reference
	line int
}

// runCopyList copies what a list says. Results come in its order.
func (a *app) runCopyList(ctx context.Context, flags copyFlags) error {
	started := time.Now()
	choice, err := a.choice(flags)
	if err != nil {
		return err
	}
	f, err := a.format()
	if err != nil {
		return err
	}
	images, err := a.readList(flags.list)
	if err != nil {
		return err
	}
	flags.jobs = max(1, flags.jobs/jobsShare)
	var siblings transfer.Siblings
	quiet := a.quiet
	a.quiet = true // sixteen images' bars say nothing; each is told when it is there
	results := make([]chan result, len(images))
	slots := make(chan struct{}, imagesAtOnce)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	for i, image := range images {
		results[i] = make(chan result, 1)
		image.copying.app, image.choice, image.flags, image.siblings = a, choice, flags, &siblings
	}
	running.Go(func() {
		for i, image := range images {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				results[i] <- result{err: fmt.Errorf("%w: %w", errNotStarted, ctx.Err())}
				continue
			}
			running.Go(func() {
				defer func() { <-slots }()
				var r result
				r.copies, r.failed, r.err = image.copies(ctx, image.to)
				results[i] <- r
			})
		}
	})
	said := a.sayListed(f, images, results, quiet)
	cancel() // where nothing could be written, nobody wants the rest
	running.Wait()
	a.quiet = quiet
	if said == nil && !quiet {
		fmt.Fprintf(a.stderr, "%d images copied; %d requests, %.1f s\n", len(images), a.requests(), time.Since(started).Seconds())
	}
	return said
}

// errNotStarted is what became of images whose turn did not come.
var errNotStarted = errors.New("not started")

// result is what became of a line.
type result struct {
	copies *report.Copies
	failed failures
	err    error
}

// sayListed writes the results in the order of the list.
func (a *app) sayListed(f report.Format, images []*listed, results []chan result, quiet bool) error {
	bad := &errListed{all: len(images)}
	for i, image := range images {
		r := <-results[i]
		if r.err == nil {
			var err error
			switch {
			case quiet:
				err = a.sayCopied(f, r.copies) // a.quiet is set
			case len(r.copies.Copies) == 1:
				err = f.Copy(r.copies.Copies[0])
			default:
				err = f.Copies(r.copies)
			}
			if err != nil {
				return err
			}
		}
		for _, err := range append(failures{r.err}, r.failed...) {
			if err == nil {
				continue
			}
			bad.errs = append(bad.errs, err)
			if errors.Is(err, errNotStarted) {
				continue
			}
			fmt.Fprintf(a.stderr, "berth: line %d: %s\n", image.line, err)
		}
		if r.err != nil || len(r.failed) > 0 {
			bad.failed++
		}
	}
	if bad.failed > 0 {
		return bad
	}
	return nil
}

// readList reads a list, and all that is wrong with its references.
func (a *app) readList(name string) ([]*listed, error) {
	from := a.stdin
	if name != store.Standard {
		file, err := os.Open(name)
		if err != nil {
			return nil, usagef("--from-file: %w", err)
		}
		defer file.Close()
		from = file
	} else if f, ok := a.stdin.(*os.File); ok && isTerminal(f) {
		return nil, usagef("--from-file -: standard input is a terminal: write … | berth, or the name of a file")
	}
	images, err := parseList(from)
	if err != nil {
		return nil, usageError{fmt.Errorf("--from-file %s: %w", name, err)}
	}
	return images, nil
}

func parseList(from io.Reader) ([]*listed, error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, maxListLine)
	var images []*listed
	seen := map[string]int{}
	n := 0
	for lines.Scan() {
		n++
		// A # inside of a word is part of it, as in a path.
		words := strings.Fields(lines.Text())
		for i, word := range words {
			if strings.HasPrefix(word, "#") {
				words = words[:i]
				break
			}
		}
		if len(words) == 0 {
			continue
		}
		if len(words) == 1 {
			return nil, fmt.Errorf("line %d: %s has no DESTINATION: write SOURCE DESTINATION…", n, store.Printable(words[0]))
		}
		src, dsts, err := ends(words[0], words[1:])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		for _, ref := range append(dsts, src) {
			if ref.Path == store.Standard {
				return nil, fmt.Errorf("line %d: %s: standard input and output are for one image", n, ref)
			}
		}
		for _, dst := range dsts {
			if before := seen[dst.String()]; before != 0 {
				return nil, fmt.Errorf("line %d: %s is the destination of line %d too", n, dst, before)
			}
			seen[dst.String()] = n
		}
		if len(images) == maxList {
			return nil, fmt.Errorf("line %d: a list has at most %d images", n, maxList)
		}
		images = append(images, &listed{copying: &copying{from: words[0], srcRef: src}, to: dsts, line: n})
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("line %d: it has more than %d characters", n+1, maxListLine)
	} else if err != nil {
		return nil, err
	}
	if len(images) == 0 {
		return nil, errors.New("it names no images: write lines of SOURCE DESTINATION…")
	}
	return images, nil
}
