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
	for attempt := 1; ; attempt++ {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if !c.again(ctx, err, attempt) {
			return final(ctx, err, attempt)
		}
	}
}

// again waits for the next attempt after the attempt-th failed with err. It
// returns false where there is to be none.
func (c *Client) again(ctx context.Context, err error, attempt int) bool {
	failed, ok := errors.AsType[*Error](err)
	if !ok || !failed.passes || ctx.Err() != nil || attempt >= c.options.Retry.Attempts {
		return false
	}
	if failed.attempts > 0 && attempt >= failed.attempts || failed.retryAfter > maxRetryAfter {
		return false
	}
	return c.options.Retry.Sleep(ctx, max(failed.retryAfter, c.options.Retry.backoff(attempt))) == nil
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
