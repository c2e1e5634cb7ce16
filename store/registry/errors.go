package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"berth/store"
)

// Error is what went wrong with one operation on a registry. It unwraps to the
// categories of package store, where it is of one.
type Error struct {
	// Op says what was being done: "fetching manifest".
	Op string
	// Host and Repository say where. Repository is empty for what concerns the
	// registry as a whole.
	Host, Repository string
	// Reference is ":TAG", "@DIGEST" or empty.
	Reference string
	// Status is the HTTP status, or 0 where there was no answer.
	Status int
	// Code and Message are the registry's own words, made printable and cut short.
	// Code is one of the distribution-spec's ("MANIFEST_UNKNOWN") where the registry
	// sent any.
	Code, Message string
	// Err is the category or the cause.
	Err error

	note string
	// passes is set where trying again may help, attempts times where that is set;
	// retryAfter is what the registry asks to wait.
	passes     bool
	attempts   int
	retryAfter time.Duration
	// tooMany is set where there were too many requests of one kind, of which passed
	// got through so far.
	tooMany bool
	passed  int
}

// Error is "fetching manifest HOST/REPOSITORY:TAG: not found: the registry says …".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op + " " + e.Host)
	if e.Repository != "" {
		b.WriteString("/" + e.Repository + e.Reference)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	if said := e.said(); said != "" {
		b.WriteString(": the registry says " + said)
	}
	if e.note != "" {
		b.WriteString(" (" + e.note + ")")
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// said is the registry's own words.
func (e *Error) said() string {
	if e.Code != "" && e.Message != "" {
		return e.Code + ": " + e.Message
	}
	return e.Code + e.Message
}

func joinNotes(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

const (
	// maxErrorBody bounds what is read of an error's body.
	maxErrorBody = 64 << 10
	// maxMessage bounds what is shown of it: two lines or three of a terminal.
	maxMessage = 300
)

func (e *endpoint) newError(c call) *Error {
	return &Error{Op: c.op, Host: e.host, Repository: c.repository, Reference: c.reference}
}

// corrupt is an error about the content of an answer.
func (e *endpoint) corrupt(c call, format string, args ...any) *Error {
	failed := e.newError(c)
	failed.Err = fmt.Errorf(format, args...)
	return failed
}

// failed reads an answer that is an error, and closes it.
func (e *endpoint) failed(c call, response *http.Response) *Error {
	// What can be read of the body is shown; what cannot says nothing.
	raw, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))
	drain(response.Body)
	failed := e.newError(c)
	failed.Status = response.StatusCode
	failed.Code, failed.Message = parseErrorBody(raw)
	failed.passes = retryable(response.StatusCode) || throttled(response.StatusCode, failed.Code)
	if failed.passes {
		failed.retryAfter = parseRetryAfter(response.Header.Get("Retry-After"), e.client.options.Now())
	}
	if q := e.quota.Load(); q != nil && response.StatusCode == http.StatusTooManyRequests && sameOrigin(*response.Request.URL, e.base) {
		failed.note = q.String()
		// What is used up comes back in hours.
		failed.passes = failed.passes && q.Remaining > 0
	}
	if response.StatusCode == http.StatusInternalServerError {
		failed.attempts = internalAttempts
	}
	if from := *response.Request.URL; !sameOrigin(from, c.url) {
		if response.StatusCode == http.StatusForbidden || response.StatusCode == http.StatusBadRequest {
			// A signed URL that ran out. The registry makes a new one when asked again.
			failed.passes, failed.attempts = true, signedAttempts
		}
		failed.note = joinNotes(failed.note, "redirected to "+from.Host)
	}
	failed.Err = category(response.StatusCode)
	switch {
	case failed.retryAfter > maxRetryAfter:
		failed.Err = fmt.Errorf("%w: it asks to come back in %s", failed.Err, failed.retryAfter.Round(time.Second))
	case response.StatusCode == http.StatusBadRequest && strings.Contains(string(raw), "HTTP request to an HTTPS server"):
		failed.Message = ""
		failed.Err = errors.New("it speaks TLS and was spoken to in plain HTTP: set plainHTTP: false for it in the file given with --registry-config")
	case failed.Code == "" && failed.Message == "" && isHTML(response.Header.Get("Content-Type"), raw):
		failed.note = joinNotes(failed.note, "the answer is an HTML page: is this a registry?")
	}
	return failed
}

// withhold takes an Authorization header that the registry repeats out of its words.
func (e *Error) withhold(authorization string) *Error {
	if _, secret, ok := strings.Cut(authorization, " "); ok {
		e.Message = Credential{Password: secret}.redact(e.Message)
	}
	return e
}

// category is the meaning of a status.
func category(status int) error {
	switch status {
	case http.StatusUnauthorized:
		return store.ErrUnauthorized
	case http.StatusForbidden:
		return store.ErrDenied
	case http.StatusNotFound:
		return store.ErrNotFound
	case http.StatusRequestEntityTooLarge:
		return store.ErrTooLarge
	case http.StatusTooManyRequests:
		return store.ErrRateLimited
	}
	text := http.StatusText(status)
	if text == "" {
		text = "an unknown status"
	}
	return fmt.Errorf("unexpected answer %d (%s)", status, text)
}

// parseErrorBody reads the distribution-spec's error JSON, or what token servers
// and storages send in its place.
func parseErrorBody(raw []byte) (code, message string) {
	var answer struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
		Details string `json:"details"`
		Message string `json:"message"`
		Error   string `json:"error_description"`
	}
	// Whatever could be read before an error counts: some send a string as detail,
	// and some a number as code.
	_ = json.Unmarshal(raw, &answer)
	for _, one := range answer.Errors {
		if one.Code != "" || one.Message != "" {
			return shorten(one.Code), shorten(one.Message)
		}
	}
	for _, text := range []string{answer.Details, answer.Message, answer.Error} {
		if text != "" {
			return "", shorten(text)
		}
	}
	return "", ""
}

// shorten makes foreign text fit to be shown.
func shorten(s string) string {
	s = strings.TrimSpace(printable(strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "\uFFFD")))
	if len(s) <= maxMessage {
		return s
	}
	end := maxMessage
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// isHTML tells a web page from a registry's answer.
func isHTML(contentType string, raw []byte) bool {
	if mediaType, _, _ := strings.Cut(contentType, ";"); strings.TrimSpace(strings.ToLower(mediaType)) == "text/html" {
		return true
	}
	return strings.HasPrefix(http.DetectContentType(raw), "text/html")
}

// broken explains a request that got no answer, or only the beginning of one.
func (e *endpoint) broken(c call, err error) *Error {
	if failed, ok := errors.AsType[*Error](err); ok {
		return failed
	}
	failed := e.newError(c)
	failed.Err = err
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		// The resolver's own text names the resolver, which nobody asked about.
		failed.passes = !dns.IsNotFound
		failed.Err = &unreachable{shorten(dns.Err) + ": " + shorten(dns.Name), err}
		return failed
	}
	switch {
	case errors.Is(err, context.Canceled):
	case errors.Is(err, store.ErrTooLarge):
	case isError[*redirectError](err), errors.Is(err, errInside):
	case errors.Is(err, syscall.ECONNREFUSED):
		failed.Err = &unreachable{"connection refused: nothing listens there", err}
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"), isPlain(err):
		failed.note = "it speaks plain HTTP: set plainHTTP: true for it in the file given with --registry-config, if that is meant"
	case isError[x509.UnknownAuthorityError](err):
		failed.note = "set ca for it in the file given with --registry-config, if the certificate is your own"
	case isError[*tls.CertificateVerificationError](err), isError[x509.HostnameError](err):
	default:
		// Resets, ends, timeouts, alerts: whatever a network does to a connection.
		failed.passes = true
	}
	return failed
}

// unreachable is a failure to connect in plain words.
type unreachable struct {
	text string
	err  error
}

func (u *unreachable) Error() string { return u.text }
func (u *unreachable) Unwrap() error { return u.err }

func isError[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// isPlain tells whether the first bytes of a TLS connection were HTTP.
func isPlain(err error) bool {
	header, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok && string(header.RecordHeader[:]) == "HTTP/"
}
