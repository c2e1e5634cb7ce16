package registry

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// guard is a registry's token authentication, token server included.
type guard struct {
	mu     sync.Mutex
	tokens map[string][]string // scopes by token
	// issued counts tokens, refused the requests that had none or a wrong one.
	issued, refused int
	asked           []string
	// expires is what the server says, where not empty.
	expires string
	// before is called before a token is issued.
	before func(*http.Request)
	// user, where not empty, has to come with the secret as password.
	user string
	// identity, where not empty, is the identity token that is wanted.
	identity string
	// strict refuses tokens that were used before.
	once bool
}

func (g *guard) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			g.issue(w, r)
			return
		}
		g.mu.Lock()
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		scopes, ok := g.tokens[token]
		if g.once {
			delete(g.tokens, token)
		}
		need := "repository:" + repositoryOf(r.URL.Path) + ":pull"
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			need += ",push"
		}
		allowed := ok && (r.URL.Path == "/v2/" || covers(scopes, []string{need}))
		if from := r.URL.Query().Get("from"); from != "" && !covers(scopes, []string{PullScope(from)}) {
			allowed = false
		}
		if !allowed {
			g.refused++
		}
		g.mu.Unlock()
		if allowed {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Add("WWW-Authenticate", "Negotiate")
		w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test",scope=%q`, r.Host, need))
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
	})
}

func repositoryOf(path string) string {
	path = strings.TrimPrefix(path, "/v2/")
	for _, kind := range []string{"/blobs/", "/manifests/"} {
		if name, _, ok := strings.Cut(path, kind); ok {
			return name
		}
	}
	return ""
}

func (g *guard) issue(w http.ResponseWriter, r *http.Request) {
	if g.before != nil {
		g.before(r)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	scopes := r.URL.Query()["scope"]
	refuse := func(why string) {
		w.WriteHeader(http.StatusUnauthorized)
		raw, _ := json.Marshal(map[string]string{"details": why})
		_, _ = w.Write(raw)
	}
	if g.user != "" {
		if user, password, _ := r.BasicAuth(); user != g.user || password != secret {
			refuse("incorrect username or password, not " + password + "\x1b[2J")
			return
		}
	}
	if g.identity != "" {
		if r.Method != http.MethodPost || r.PostFormValue("grant_type") != "refresh_token" || r.PostFormValue("refresh_token") != g.identity || r.PostFormValue("service") != "test" {
			refuse("not " + r.PostFormValue("refresh_token"))
			return
		}
		scopes = strings.Fields(r.PostFormValue("scope"))
	}
	g.issued++
	token := fmt.Sprintf("%s-token-%d", secret, g.issued)
	if g.tokens == nil {
		g.tokens = map[string][]string{}
	}
	g.tokens[token] = scopes
	g.asked = append(g.asked, strings.Join(scopes, " "))
	fmt.Fprintf(w, `{"access_token":%q%s}`, token, g.expires)
}
