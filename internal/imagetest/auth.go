package imagetest

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
)

// Bearer is a middleware that asks for a token, as public registries do, and gives
// one to everybody at /token, each time another.
func Bearer(next http.Handler) http.Handler {
	var given atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"token":%q,"expires_in":300}`, fmt.Sprintf("%d %s", given.Add(1), strings.Join(r.URL.Query()["scope"], " ")))
		case strings.HasPrefix(r.Header.Get("Authorization"), "Bearer "):
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, r.Host))
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", fmt.Errorf("a token is needed"))
		}
	})
}
