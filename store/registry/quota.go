package registry

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Quota is what a registry says is left of what may be pulled. Docker Hub says it in the
// headers of its answers about manifests ("Docker Hub pull usage and limits", November
// 2026), where a GET counts and a HEAD does not.
type Quota struct {
	// Remaining of Limit pulls are left within Window, which is zero where it is not
	// known.
	Remaining, Limit int
	Window           time.Duration
}

// lowQuota is the share of the limit below which a quota is low: with ten left of a
// hundred there is time to do something about it.
const lowQuota = 10

// Low tells whether little is left.
func (q Quota) Low() bool { return q.Limit > 0 && q.Remaining*lowQuota <= q.Limit }

// String is "7 of 100 pulls are left within 6 hours".
func (q Quota) String() string {
	s := fmt.Sprintf("%d of %d pulls are left", q.Remaining, q.Limit)
	if hours := q.Window.Hours(); hours >= 1 {
		s += fmt.Sprintf(" within %g hours", hours)
	} else if q.Window > 0 {
		s += " within " + q.Window.String()
	}
	return s
}

// Quotas are the latest that registries have told, by host as references name it.
func (c *Client) Quotas() map[string]Quota {
	c.mu.Lock()
	defer c.mu.Unlock()
	quotas := map[string]Quota{}
	for host, e := range c.endpoints {
		if q := e.quota.Load(); q != nil {
			quotas[host] = *q
		}
	}
	return quotas
}

// noteQuota keeps what an answer of the registry says is left.
func (e *endpoint) noteQuota(header http.Header) {
	remaining, window, ok := parseQuota(header.Get("Ratelimit-Remaining"))
	limit, _, limited := parseQuota(header.Get("Ratelimit-Limit"))
	if !ok || !limited {
		return
	}
	q := &Quota{Remaining: remaining, Limit: limit, Window: window}
	// Answers that were asked for at once arrive in any order: the least is the latest.
	for known := e.quota.Load(); known == nil || known.Remaining > q.Remaining; known = e.quota.Load() {
		if e.quota.CompareAndSwap(known, q) {
			return
		}
	}
}

// parseQuota reads "76;w=21600": a number, and the window that it is for in seconds.
func parseQuota(s string) (n int, window time.Duration, ok bool) {
	number, rest, _ := strings.Cut(s, ";")
	parsed, err := strconv.ParseUint(strings.TrimSpace(number), 10, 31)
	if err != nil {
		return 0, 0, false
	}
	if value, found := strings.CutPrefix(strings.TrimSpace(rest), "w="); found {
		if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
			window = time.Duration(seconds) * time.Second
		}
	}
	return int(parsed), window, true
}
