package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Retry says how failures that pass are tried again.
type Retry struct {
	// Attempts is how often a request is sent at most; 5 where zero, and 1 is never again.
	Attempts int
	// Base is about the wait after the first failure, doubled after each further
	// one; 250 milliseconds where zero.
	Base time.Duration
	// Sleep waits, or returns early with the context's error; a timer where nil.
	Sleep func(ctx context.Context, d time.Duration) error
}

const (
	// defaultAttempts, with the base below, get over some 4 seconds of trouble
	// without holding up a person for long.
	defaultAttempts = 5
	defaultBase     = 250 * time.Millisecond
	// maxBackoff bounds the doubling.
	maxBackoff = 10 * time.Second
	// maxRetryAfter is how long a registry may make us wait. Beyond it, Docker
	// Hub's hours say, the error says what it asked for.
	maxRetryAfter = time.Minute
	// internalAttempts bounds the attempts that end with a 500, which is as often a
	// bug that stays as a failure that passes.
	internalAttempts = 3
	// signedAttempts is for a signed URL that is refused: a new one helps or it does not.
	signedAttempts = 2
)

func (r Retry) withDefaults() Retry {
	if r.Attempts <= 0 {
		r.Attempts = defaultAttempts
	}
	if r.Base <= 0 {
		r.Base = defaultBase
	}
	if r.Sleep == nil {
		r.Sleep = sleep
	}
	return r
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retry calls do until it succeeds, fails for good or has failed often enough.
func (c *Client) retry(ctx context.Context, do func(context.Context) error) error {
	for tried := (tries{}); ; {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if !c.again(ctx, err, &tried) {
			return final(ctx, err, tried.failed)
		}
	}
}

// tries are what became of the attempts so far.
type tries struct {
	// failed is how many did, refused how many were one too many while others got
	// through, and passed how many those were.
	failed, refused, passed int
}

// maxRefused bounds what the wait grows with where there are too many requests: to some
// two seconds, within which the registries that limit rates count them.
const maxRefused = 4

// again counts an attempt that failed with err, and waits for the next. It returns
// false where there is to be none.
//
// A request that was one too many while others got through is no failed attempt: its
// turn comes when they are done, and nobody waits for ever because they end.
func (c *Client) again(ctx context.Context, err error, t *tries) bool {
	failed, ok := errors.AsType[*Error](err)
	refused := ok && failed.tooMany && failed.passed > t.passed
	if refused {
		t.refused, t.passed = min(t.refused+1, maxRefused), failed.passed
	} else {
		t.failed++
	}
	if !ok || !failed.passes || ctx.Err() != nil || failed.retryAfter > maxRetryAfter {
		return false
	}
	if !refused && (t.failed >= c.options.Retry.Attempts || failed.attempts > 0 && t.failed >= failed.attempts) {
		return false
	}
	wait := c.options.Retry.backoff(max(t.failed, t.refused))
	return c.options.Retry.Sleep(ctx, max(failed.retryAfter, wait)) == nil
}

// backoff is exponential, with the upper half of each wait at random so that those
// who failed together do not come back together.
func (r Retry) backoff(attempt int) time.Duration {
	wait := r.Base
	for range attempt - 1 {
		wait = min(2*wait, maxBackoff)
	}
	return wait/2 + rand.N(wait/2+1)
}

// final is err as it is after the last attempt. It is a copy, because others may
// hold the same one, and it says that nobody further out need try again.
func final(ctx context.Context, err error, attempts int) error {
	failed, ok := err.(*Error)
	if !ok {
		return err
	}
	last := *failed
	last.passes = false
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		last.Err = fmt.Errorf("%w after: %w", ended, failed.Err)
	}
	if attempts > 1 {
		last.note = joinNotes(failed.note, fmt.Sprintf("tried %d times", attempts))
	}
	return &last
}

// retryable tells whether an answer may be another one a little later.
func retryable(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// parseRetryAfter reads a Retry-After header: seconds or a date (RFC 9110, section
// 10.2.3). What it cannot read is no wait.
func parseRetryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
