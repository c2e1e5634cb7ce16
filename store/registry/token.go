package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"berth/store"
)

// PullScope is the scope for reading a repository, in the words of the
// distribution project's token specification.
func PullScope(repository string) string { return "repository:" + repository + ":pull" }

// PushScope is the scope for reading and writing a repository.
func PushScope(repository string) string { return "repository:" + repository + ":pull,push" }

const (
	// defaultLifetime is that of a token whose server does not say (distribution,
	// "Token Authentication Specification": 60 seconds).
	defaultLifetime = time.Minute
	// tokenMargin is how long before its end a token is renewed, so that it does
	// not run out between here and the registry. Tokens are checked when a request
	// begins, so the length of a transfer does not matter.
	tokenMargin = 15 * time.Second
	// maxLifetime keeps a foreign number from overflowing a duration. Nobody copies
	// for longer on one token.
	maxLifetime = 24 * time.Hour
	// maxTokenBody bounds a token server's answer. Tokens with many scopes reach
	// some 10 KiB.
	maxTokenBody = 256 << 10
)

// authorizer knows how one registry wants to be shown who is there.
type authorizer struct {
	mu sync.Mutex
	// challenge is the last one seen; its scheme is empty until there was one.
	challenge challenge
	grants    []*grant

	// credential is what was found for the host; asking serialises the asking.
	asking     chan struct{}
	credential *Credential
}

// grant is a token for a set of scopes, or the place for one.
type grant struct {
	scopes []string
	// refreshing is held by whoever uses the fields below. It is a channel so that
	// waiting for it ends with the context.
	refreshing chan struct{}
	token      string
	expires    time.Time
	err        error
	// attempts counts refreshes that came to an end.
	attempts atomic.Int64
}

// grantFor returns a grant that covers scopes, the youngest there is, or a new one.
func (a *authorizer) grantFor(scopes []string) *grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, g := range slices.Backward(a.grants) {
		if covers(g.scopes, scopes) {
			return g
		}
	}
	g := &grant{scopes: slices.Clone(scopes), refreshing: make(chan struct{}, 1)}
	a.grants = append(a.grants, g)
	return g
}

// current returns the challenge last seen.
func (a *authorizer) current() challenge {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.challenge
}

// learn keeps what a 401 said and returns the scopes to ask for: those wanted and
// those that the registry names.
func (a *authorizer) learn(c challenge, scopes []string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.challenge = c
	for _, named := range strings.Fields(c.params["scope"]) {
		if !covers(scopes, []string{named}) {
			scopes = append(slices.Clone(scopes), named)
		}
	}
	return scopes
}

// covers tells whether whoever has the scopes have may do all that want says.
func covers(have, want []string) bool {
	return !slices.ContainsFunc(want, func(w string) bool {
		resource, actions := cutScope(w)
		return !slices.ContainsFunc(have, func(h string) bool {
			r, a := cutScope(h)
			granted := strings.Split(a, ",")
			return r == resource && !slices.ContainsFunc(strings.Split(actions, ","), func(action string) bool {
				return !slices.Contains(granted, action)
			})
		})
	})
}

// cutScope cuts "repository:name:pull,push" before the actions.
func cutScope(scope string) (resource, actions string) {
	i := strings.LastIndexByte(scope, ':')
	if i < 0 {
		return scope, ""
	}
	return scope[:i], scope[i+1:]
}

// authorization returns the Authorization header for a call, or "" as long as the
// registry has not asked for one. A header that was refused is not returned again.
func (e *endpoint) authorization(ctx context.Context, c call, refused string) (string, error) {
	asked := e.auth.current()
	if asked.scheme == "" {
		return "", nil
	}
	credential, err := e.credential(ctx, asked.scheme == "basic" && refused != "")
	if err != nil {
		return "", e.unauthorized(c, 0, Credential{}, fmt.Errorf("reading its credentials: %w", err))
	}
	switch {
	case asked.scheme == "basic" && credential.Username == "" && credential.Password == "":
		return "", nil
	case asked.scheme == "basic":
		return basic(credential), nil
	case credential.RegistryToken != "":
		return "Bearer " + credential.RegistryToken, nil
	}
	token, err := e.token(ctx, e.auth.grantFor(c.scopes), asked, credential, strings.TrimPrefix(refused, "Bearer "))
	if err != nil {
		if _, ok := errors.AsType[*Error](err); ok || ctx.Err() != nil {
			return "", err
		}
		return "", e.unauthorized(c, 0, credential, err)
	}
	return "Bearer " + token, nil
}

// token returns the token of g, renewed where it is missing, about to expire or
// refused. One renewal runs at a time; those who waited for one that failed share
// its failure.
func (e *endpoint) token(ctx context.Context, g *grant, asked challenge, credential Credential, refused string) (string, error) {
	seen := g.attempts.Load()
	select {
	case g.refreshing <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-g.refreshing }()
	if g.attempts.Load() != seen && g.err != nil {
		return "", g.err
	}
	if g.token != "" && g.token != refused && e.client.options.Now().Before(g.expires) {
		return g.token, nil
	}
	token, expires, err := e.fetchToken(ctx, g.scopes, asked, credential)
	if err != nil && ctx.Err() != nil {
		// This caller gave up. That says nothing to the others.
		return "", err
	}
	g.token, g.expires, g.err = token, expires, err
	g.attempts.Add(1)
	return token, err
}

// fetchToken asks the token server that the challenge names.
func (e *endpoint) fetchToken(ctx context.Context, scopes []string, asked challenge, credential Credential) (string, time.Time, error) {
	realm, err := url.Parse(asked.params["realm"])
	if err != nil || realm.Host == "" || realm.User != nil {
		return "", time.Time{}, errors.New("the token server that it names is not a URL")
	}
	if err := e.checkHop(e.base, *realm); err != nil {
		return "", time.Time{}, fmt.Errorf("its token server is refused: %w", err)
	}
	c := call{op: "obtaining a token from " + realm.Host + " for", method: http.MethodGet, url: *realm}
	authorization := ""
	if credential.IdentityToken != "" {
		// distribution, "Oauth2 Token Authentication".
		form := url.Values{
			"grant_type":    {"refresh_token"},
			"refresh_token": {credential.IdentityToken},
			"service":       {asked.params["service"]},
			"client_id":     {e.client.options.UserAgent},
			"scope":         {strings.Join(scopes, " ")},
		}.Encode()
		c.method = http.MethodPost
		c.header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		c.size = int64(len(form))
		c.body = func() io.ReadCloser { return io.NopCloser(strings.NewReader(form)) }
	} else {
		query := c.url.Query()
		if service := asked.params["service"]; service != "" {
			query.Set("service", service)
		}
		for _, scope := range scopes {
			query.Add("scope", scope)
		}
		c.url.RawQuery = query.Encode()
		if credential.Username != "" || credential.Password != "" {
			authorization = basic(credential)
		}
	}
	var token string
	var expires time.Time
	err = e.client.retry(ctx, func(ctx context.Context) error {
		start := e.client.options.Now()
		response, err := e.send(ctx, c, authorization)
		if err != nil {
			return e.broken(c, err)
		}
		if response.StatusCode != http.StatusOK {
			failed := e.failed(c, response)
			failed.Message = credential.redact(failed.Message)
			switch failed.Status {
			case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
				said := failed.said()
				if said != "" {
					said = "; it says " + said
				}
				return e.unauthorized(call{op: "authenticating at"}, failed.Status, credential, fmt.Errorf("%s gives no token%s", realm.Host, said))
			}
			return failed
		}
		defer response.Body.Close()
		var answer tokenAnswer
		raw, err := readBounded(response, maxTokenBody)
		if err != nil {
			return e.broken(c, err)
		}
		if json.Unmarshal(raw, &answer) != nil || answer.token() == "" {
			return e.unauthorized(c, 0, credential, errors.New("the answer holds no token"))
		}
		token, expires = answer.token(), start.Add(answer.lifetime(response.Header.Get("Date")))
		return nil
	})
	return token, expires, err
}

// tokenAnswer is a token server's answer. Some send access_token alone, and some
// send expires_in as a string.
type tokenAnswer struct {
	Token       string      `json:"token"`
	AccessToken string      `json:"access_token"`
	ExpiresIn   json.Number `json:"expires_in"`
	IssuedAt    string      `json:"issued_at"`
}

func (t tokenAnswer) token() string {
	if t.Token != "" {
		return t.Token
	}
	return t.AccessToken
}

// lifetime is how long the token can be used from now on. date is the server's
// clock: comparing it with issued_at tells the age of a token that came from a
// cache, whatever our own clock shows.
func (t tokenAnswer) lifetime(date string) time.Duration {
	lifetime := defaultLifetime
	if seconds, err := t.ExpiresIn.Float64(); err == nil && seconds > 0 {
		lifetime = time.Duration(min(seconds, maxLifetime.Seconds()) * float64(time.Second))
	}
	issued, err := time.Parse(time.RFC3339Nano, t.IssuedAt)
	if served, dateErr := http.ParseTime(date); err == nil && dateErr == nil && served.After(issued) {
		lifetime -= served.Sub(issued)
	}
	return lifetime - min(tokenMargin, lifetime/4)
}

// unauthorized is the error for credentials that are missing or not accepted.
func (e *endpoint) unauthorized(c call, status int, credential Credential, why error) *Error {
	failed := e.newError(c)
	failed.Status = status
	failed.Err = fmt.Errorf("%w: %w (%s)", store.ErrUnauthorized, why, credential.who(e.host))
	return failed
}
