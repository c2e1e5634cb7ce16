package ecr

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/internal/imagetest"
	"berth/store"
	"berth/store/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "hunter2"
	host   = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
)

func TestParse(t *testing.T) {
	for host, want := range map[string]Registry{
		host: {Account: "123456789012", Region: "eu-west-1"},
		"123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com":           {Account: "123456789012", Region: "us-gov-west-1", FIPS: true},
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":                {Account: "123456789012", Region: "cn-north-1"},
		"123456789012.dkr-ecr.us-east-2.on.aws":                           {Account: "123456789012", Region: "us-east-2"},
		"123456789012.dkr-ecr-fips.us-east-2.on.aws":                      {Account: "123456789012", Region: "us-east-2", FIPS: true},
		"123456789012.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn": {Account: "123456789012", Region: "cn-northwest-1"},
		"public.ecr.aws": {Region: "us-east-1", Public: true},
	} {
		if got, ok := Parse(host); !ok || got != want {
			t.Errorf("%s: %+v, %v", host, got, ok)
		}
	}
	for _, other := range []string{
		"", "docker.io", "ecr.aws", "evil.public.ecr.aws", "public.ecr.aws.evil.example", "public.ecr.aws:443",
		host + ".evil.example", host + ":443", "x" + host, "evil.example/" + host, host + "\n",
		"12345.dkr.ecr.eu-west-1.amazonaws.com", "123456789012.dkr.ecr.evil/.amazonaws.com", "123456789012.dkr.ecr.amazonaws.com",
		"123456789012.dkrxecr.eu-west-1.amazonaws.com", "123456789012.dkr.ecr.eu-west-1.amazonawsxcom",
		strings.ToUpper(host),
	} {
		if got, ok := Parse(other); ok {
			t.Errorf("%q is taken for %+v", other, got)
		}
	}
}

// api is ECR's API, as far as logging in goes.
type api struct {
	logins atomic.Int64
	// code and message are the error that it answers with, where set.
	code, message string
	expires       time.Time
	empty         bool
	// more answers what is not about logging in.
	more func(w http.ResponseWriter, action string, body []byte)
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIATEST/") {
		http.Error(w, `{"__type":"MissingAuthenticationToken"}`, http.StatusForbidden)
		return
	}
	if a.code != "" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":%q,"message":%q}`, a.code, a.message)
		return
	}
	a.logins.Add(1)
	data := fmt.Sprintf(`{"authorizationToken":%q,"expiresAt":%d}`, base64.StdEncoding.EncodeToString([]byte("AWS:"+secret)), a.expires.Unix())
	switch r.Header.Get("X-Amz-Target") {
	case "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken":
		data = "[" + data + "]"
		if a.empty {
			data = "[]"
		}
	case "SpencerFrontendService.GetAuthorizationToken":
		if !strings.Contains(r.Header.Get("Authorization"), "/us-east-1/") {
			http.Error(w, "{}", http.StatusBadRequest)
			return
		}
	default:
		a.logins.Add(-1)
		body, err := io.ReadAll(r.Body)
		if a.more == nil || err != nil {
			http.Error(w, "{}", http.StatusNotFound)
			return
		}
		_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		a.more(w, action, body)
		return
	}
	fmt.Fprintf(w, `{"authorizationData":%s}`, data)
}

// start serves the API, and takes all AWS credentials of this machine away but
// those of set.
func start(t *testing.T, a *api, set map[string]string) Options {
	t.Helper()
	for _, name := range os.Environ() {
		if name, _, _ := strings.Cut(name, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "credentials"))
	for name, value := range set {
		t.Setenv(name, value)
	}
	if a.expires.IsZero() {
		a.expires = time.Now().Add(12 * time.Hour)
	}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	return Options{Endpoint: server.URL, HTTPClient: server.Client()}
}

// keys are long-lived access keys.
var keys = map[string]string{"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": secret + "-key"}

func TestCredentials(t *testing.T) {
	a := &api{expires: time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)}
	found := New(start(t, a, keys)).Credentials(nil)
	for _, host := range []string{host, "public.ecr.aws"} {
		got, err := found.Credential(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		if got.Username != "AWS" || got.Password != secret || !got.Expires.Equal(a.expires.Add(-expiryMargin)) {
			t.Errorf("%s: %s until %s", host, got, got.Expires)
		}
	}
	if got, err := found.Credential(t.Context(), "docker.io"); err != nil || !got.Anonymous() || a.logins.Load() != 2 {
		t.Errorf("docker.io: %s, %v, %d logins", got, err, a.logins.Load())
	}
}

func TestDockerConfigComesFirst(t *testing.T) {
	a := &api{}
	options := start(t, a, keys)
	base := registry.CredentialsFunc(func(_ context.Context, asked string) (registry.Credential, error) {
		switch asked {
		case host:
			return registry.Credential{Username: "from Docker"}, nil
		case "public.ecr.aws":
			return registry.Credential{}, errors.New("the helper broke")
		}
		return registry.Credential{}, nil
	})
	if got, err := New(options).Credentials(base).Credential(t.Context(), host); err != nil || got.Username != "from Docker" || a.logins.Load() != 0 {
		t.Errorf("%s, %v, %d logins", got, err, a.logins.Load())
	}
	if _, err := New(options).Credentials(base).Credential(t.Context(), "public.ecr.aws"); err == nil || !strings.Contains(err.Error(), "the helper broke") {
		t.Errorf("%v", err)
	}
	if got, err := New(options).Credentials(base).Credential(t.Context(), "123456789012.dkr-ecr.us-east-2.on.aws"); err != nil || got.Username != "AWS" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestLoginFails(t *testing.T) {
	for name, c := range map[string]struct {
		api  *api
		set  map[string]string
		says []string
	}{
		"no credentials": {api: &api{}, set: nil, says: []string{"no AWS credentials that can be used", "aws sso login", "aws configure"}},
		"expired": {
			api: &api{code: "ExpiredTokenException", message: "The security token included in the request is expired"}, set: keys,
			says: []string{"the AWS credentials have expired", "aws sso login", "The security token included in the request is expired"},
		},
		"wrong": {
			api: &api{code: "UnrecognizedClientException", message: "The security token included in the request is invalid."}, set: keys,
			says: []string{"AWS does not accept these credentials", "aws configure"},
		},
		"not allowed": {
			api: &api{code: "AccessDeniedException", message: "User: arn:aws:iam::123456789012:user/x is not authorized"}, set: keys,
			says: []string{"ecr:GetAuthorizationToken", "arn:aws:iam"},
		},
		"another":             {api: &api{code: "InvalidParameterException"}, set: keys, says: []string{"logging in to Amazon ECR", "InvalidParameterException"}},
		"no token":            {api: &api{empty: true}, set: keys, says: []string{"without an authorization token"}},
		"a profile of no one": {api: &api{}, set: map[string]string{"AWS_PROFILE": "nobody"}, says: []string{"the AWS configuration cannot be read", "nobody"}},
	} {
		t.Run(name, func(t *testing.T) {
			options := start(t, c.api, c.set)
			_, err := New(options).Credentials(nil).Credential(t.Context(), host)
			if err == nil {
				t.Fatal("no error")
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
				t.Errorf("the secret is in %v", err)
			}
			if got, err := New(options).Credentials(nil).Credential(t.Context(), "public.ecr.aws"); name != "no token" && (err != nil || !got.Anonymous()) {
				t.Errorf("public.ecr.aws: %s, %v; want to be anonymous", got, err)
			}
		})
	}
}

func TestLoginIsCancelled(t *testing.T) {
	options := start(t, &api{}, keys)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, host := range []string{host, "public.ecr.aws"} {
		if _, err := New(options).Credentials(nil).Credential(ctx, host); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// at makes a client that finds the registry of handler under the name of ECR.
func at(t *testing.T, handler http.Handler, options registry.Options) *registry.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	options.Transport = rewrite{server}
	options.Retry.Sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	client := registry.New(options)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

type rewrite struct{ server *httptest.Server }

func (r rewrite) RoundTrip(request *http.Request) (*http.Response, error) {
	out := request.Clone(request.Context())
	out.URL.Scheme, out.URL.Host = "http", r.server.Listener.Addr().String()
	return r.server.Client().Transport.RoundTrip(out)
}

// The registry of an account: it wants the login, and some of its repositories are missing.
func account(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "AWS" || password != secret {
			w.Header().Set("WWW-Authenticate", `Basic realm="https://`+host+`/",service="ecr.amazonaws.com"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if strings.Contains(r.URL.Path, "/missing/") {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"errors":[{"code":"NAME_UNKNOWN","message":"The repository with name 'team/missing' does not exist in the registry with id '123456789012'"}]}`)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func TestPushAndPull(t *testing.T) {
	a := &api{}
	options := start(t, a, keys)
	aws := New(options)
	client := at(t, account(imagetest.NewRegistry()), registry.Options{Credentials: aws.Credentials(nil)})
	repository, ok := aws.Wrap(client.Repository(host, "team/app"))
	if !ok {
		t.Fatal("it is not on ECR")
	}
	memory := imagetest.New()
	memory.AddIndex("v1", "")
	if err := memory.PushTo(t.Context(), repository); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := repository.Manifest(t.Context(), "v1"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if a.logins.Load() != 1 {
		t.Errorf("%d logins", a.logins.Load())
	}
	if _, ok := aws.Wrap(client.Repository("docker.io", "library/alpine")); ok {
		t.Error("Docker Hub is taken for ECR")
	}
}

func TestMissingRepository(t *testing.T) {
	for _, c := range []struct{ host, name, says string }{
		{host, "team/missing", "--create-repository creates it, or aws ecr create-repository --repository-name team/missing --region eu-west-1"},
		{"public.ecr.aws", "alias/team/missing", "--create-repository creates it, or aws ecr-public create-repository --repository-name team/missing --region us-east-1"},
	} {
		aws := New(start(t, &api{}, keys))
		client := at(t, account(imagetest.NewRegistry()), registry.Options{Credentials: aws.Credentials(nil)})
		repository, _ := aws.Wrap(client.Repository(c.host, c.name))
		memory := imagetest.New()
		blob := memory.AddBlob("", []byte("x"))
		_, err := repository.PushBlob(t.Context(), store.Content{Descriptor: blob, Open: func(ctx context.Context, offset int64) (io.ReadCloser, error) {
			return memory.Blob(ctx, blob, offset)
		}})
		manifest := memory.AddIndex("v1", "")
		stored, manifestErr := memory.Manifest(t.Context(), manifest.Digest.String())
		if manifestErr != nil {
			t.Fatal(manifestErr)
		}
		for _, err := range []error{err, repository.PushManifest(t.Context(), manifest, stored.Raw, "v1")} {
			if !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.host+"/"+c.name) {
				t.Errorf("%v: want %s", err, c.says)
			}
		}
	}
}

func TestPushToPublicWithoutCredentials(t *testing.T) {
	aws := New(start(t, &api{}, nil))
	client := at(t, account(imagetest.NewRegistry()), registry.Options{Credentials: aws.Credentials(nil)})
	repository, _ := aws.Wrap(client.Repository("public.ecr.aws", "alias/app"))
	memory := imagetest.New()
	memory.AddIndex("v1", "")
	err := memory.PushTo(t.Context(), repository)
	if !errors.Is(err, store.ErrUnauthorized) || !strings.Contains(err.Error(), "aws sso login") {
		t.Error(err)
	}
}

func TestDockerLoginHasExpired(t *testing.T) {
	client := at(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}`)
	}), registry.Options{})
	repository, _ := New(Options{}).Wrap(client.Repository(host, "team/app"))
	_, err := repository.Manifest(t.Context(), "v1")
	if !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "docker logout "+host) {
		t.Error(err)
	}
}
