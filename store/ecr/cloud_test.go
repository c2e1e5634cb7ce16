package ecr

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/image"
	"berth/internal/imagetest"
	"berth/platform"
	"berth/store"
	"berth/store/registry"
	"berth/transfer"
)

// cloud is an account with its registry and its API: repositories must be created, a
// repository is not mounted from itself, and a tag of an immutable one is refused even
// for what it stands for (aws/containers-roadmap#2380).
type cloud struct {
	next http.Handler

	mu      sync.Mutex
	created map[string]map[string]any // what CreateRepository was asked, by name
	asked   []int                     // how many digests each BatchCheckLayerAvailability had
	// forbidden is the action that the credentials may not do.
	forbidden string
	traffic   []string
}

var path = regexp.MustCompile(`^/v2/(.+)/(blobs|manifests)/(.+)$`)

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	part := path.FindStringSubmatch(r.URL.Path)
	refuse := func(status int, code, message string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
	}
	c.mu.Lock()
	c.traffic = append(c.traffic, r.Method+" "+r.URL.Path)
	var settings map[string]any
	known := false
	if part != nil {
		settings, known = c.created[part[1]]
	}
	c.mu.Unlock()
	switch {
	case part == nil:
	case !known:
		refuse(http.StatusNotFound, "NAME_UNKNOWN", "The repository with name '"+part[1]+"' does not exist")
		return
	case r.Method == http.MethodPost && r.URL.Query().Get("from") == part[1]:
		r.URL.RawQuery = ""
	case r.Method == http.MethodPut && part[2] == "manifests" && settings["imageTagMutability"] == "IMMUTABLE" && !strings.Contains(part[3], ":"):
		probe := r.Clone(r.Context())
		probe.Method, probe.Body = http.MethodHead, http.NoBody
		if c.has(probe) {
			refuse(http.StatusBadRequest, "TAG_INVALID", "The image tag '"+part[3]+"' already exists in the '"+part[1]+"' repository and cannot be overwritten because the tag is immutable.")
			return
		}
	}
	c.next.ServeHTTP(w, r)
}

// has tells whether the registry answers a HEAD with 200.
func (c *cloud) has(head *http.Request) bool {
	answer := &silent{header: http.Header{}}
	c.next.ServeHTTP(answer, head)
	return answer.status == 0 || answer.status == http.StatusOK
}

// silent is a response that nobody reads.
type silent struct {
	header http.Header
	status int
}

func (s *silent) Header() http.Header         { return s.header }
func (s *silent) Write(p []byte) (int, error) { return len(p), nil }
func (s *silent) WriteHeader(status int)      { s.status = status }

func (c *cloud) api(w http.ResponseWriter, action string, body []byte) {
	var input map[string]any
	if err := json.Unmarshal(body, &input); err != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	refuse := func(code string) {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":%q,"message":"no"}`, code)
	}
	if action == c.forbidden {
		refuse("AccessDeniedException")
		return
	}
	name, _ := input["repositoryName"].(string)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch action {
	case "CreateRepository":
		if _, ok := c.created[name]; ok {
			refuse("RepositoryAlreadyExistsException")
			return
		}
		c.created[name] = input
		io.WriteString(w, "{}")
	case "BatchCheckLayerAvailability":
		digests := input["layerDigests"].([]any)
		c.asked = append(c.asked, len(digests))
		if _, ok := c.created[name]; !ok || len(digests) > 100 {
			refuse("RepositoryNotFoundException")
			return
		}
		var layers []string
		for _, d := range digests {
			request, err := http.NewRequest(http.MethodHead, "/v2/"+name+"/blobs/"+d.(string), http.NoBody)
			if err != nil {
				panic(err)
			}
			available := "AVAILABLE"
			if !c.has(request) {
				available = "UNAVAILABLE"
			}
			layers = append(layers, fmt.Sprintf(`{"layerDigest":%q,"layerAvailability":%q}`, d, available))
		}
		fmt.Fprintf(w, `{"layers":[%s],"failures":[]}`, strings.Join(layers, ","))
	default:
		refuse("InvalidAction")
	}
}

// sent are the requests about blobs and manifests since the last call.
func (c *cloud) sent(match string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.traffic
	c.traffic = nil
	return slices.DeleteFunc(all, func(s string) bool { return !regexp.MustCompile(match).MatchString(s) })
}

// begin starts a cloud and returns the repository of that name in it.
func begin(t *testing.T, c *cloud, on, name string, create *Settings) *Repository {
	t.Helper()
	c.next = imagetest.NewRegistry()
	if c.created == nil {
		c.created = map[string]map[string]any{}
	}
	options := start(t, &api{more: c.api}, keys)
	options.Create = create
	aws := New(options)
	client := at(t, account(c), registry.Options{Credentials: aws.Credentials(nil)})
	repository, ok := aws.Wrap(client.Repository(on, name))
	if !ok {
		t.Fatal("it is not on ECR")
	}
	return repository
}

// layered is an image of so many layers.
func layered(n int) *imagetest.Memory {
	m := imagetest.New()
	img := imagetest.Image{Configured: platform.MustParse("linux/amd64")}
	for i := range n {
		img.Layers = append(img.Layers, imagetest.GzipLayer(imagetest.File{Name: "file", Body: fmt.Sprint(i)}))
	}
	m.AddImage(img, "v1")
	return m
}

func copyTo(t *testing.T, m *imagetest.Memory, to *Repository, tag string) (*transfer.Result, error) {
	t.Helper()
	img, err := image.Open(t.Context(), m, "v1")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := transfer.New(img.All(), transfer.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return plan.Run(t.Context(), m, to, transfer.Options{Tag: tag})
}

func TestCreateRepository(t *testing.T) {
	for name, c := range map[string]struct {
		settings Settings
		want     map[string]any // of what CreateRepository is asked
		how      string
	}{
		"as AWS does":  {Settings{}, map[string]any{"registryId": "123456789012"}, "tags can be moved"},
		"immutable":    {Settings{ImmutableTags: true}, map[string]any{"registryId": "123456789012", "imageTagMutability": "IMMUTABLE"}, "tags cannot be moved"},
		"scan on push": {Settings{ScanOnPush: true}, map[string]any{"registryId": "123456789012", "imageScanningConfiguration": map[string]any{"scanOnPush": true}}, "tags can be moved, scanned on push"},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			c.settings.Created = func(repository, how string) { told = append(told, repository+" "+how) }
			cloud := &cloud{}
			repository := begin(t, cloud, host, "team/app", &c.settings)
			if _, err := copyTo(t, layered(20), repository, "v1"); err != nil {
				t.Fatal(err)
			}
			c.want["repositoryName"] = "team/app"
			if got := cloud.created["team/app"]; fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("it was created with %v, want %v", got, c.want)
			}
			if want := []string{host + "/team/app " + c.how}; !slices.Equal(told, want) {
				t.Errorf("told %q, want %q", told, want)
			}
		})
	}
	t.Run("public", func(t *testing.T) {
		cloud := &cloud{created: map[string]map[string]any{}}
		repository := begin(t, cloud, "public.ecr.aws", "alias/app", &Settings{ImmutableTags: true})
		if _, err := copyTo(t, layered(1), repository, "v1"); err == nil || !strings.Contains(err.Error(), "leave out --scan-on-push and --immutable-tags") {
			t.Errorf("settings that it has not: %v", err)
		}
		// The name of the repository is that without the alias, so the fake's registry
		// does not find it; what it was asked for is what counts.
		repository = begin(t, cloud, "public.ecr.aws", "alias/app", &Settings{})
		_, _ = copyTo(t, layered(1), repository, "v1")
		if _, ok := cloud.created["app"]; !ok {
			t.Errorf("created: %v", cloud.created)
		}
	})
	t.Run("somebody was faster", func(t *testing.T) {
		cloud := &cloud{}
		repository := begin(t, cloud, host, "team/app", &Settings{Created: func(string, string) { t.Error("it was not created by this run") }})
		repository.creating.Lock() // until the other has created it
		go func() {
			defer repository.creating.Unlock()
			cloud.mu.Lock()
			defer cloud.mu.Unlock()
			cloud.created["team/app"] = map[string]any{}
		}()
		if _, err := copyTo(t, layered(1), repository, "v1"); err != nil {
			t.Error(err)
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		repository := begin(t, &cloud{forbidden: "CreateRepository"}, host, "team/app", &Settings{})
		_, err := copyTo(t, layered(1), repository, "v1")
		if err == nil || !strings.Contains(err.Error(), "creating "+host+"/team/app") || !strings.Contains(err.Error(), "allow them ecr:CreateRepository") {
			t.Error(err)
		}
	})
	t.Run("not asked for", func(t *testing.T) {
		cloud := &cloud{}
		_, err := copyTo(t, layered(1), begin(t, cloud, host, "team/app", nil), "v1")
		if err == nil || !strings.Contains(err.Error(), "--create-repository creates it") || len(cloud.created) > 0 {
			t.Error(err, cloud.created)
		}
	})
}

func TestHolds(t *testing.T) {
	cloud := &cloud{created: map[string]map[string]any{"team/app": {}}}
	repository := begin(t, cloud, host, "team/app", nil)
	m := layered(150)
	if _, err := copyTo(t, m, repository, "v1"); err != nil {
		t.Fatal(err)
	}
	slices.Sort(cloud.asked)
	if !slices.Equal(cloud.asked, []int{51, 100}) { // 150 layers and the config
		t.Errorf("asked for %v digests", cloud.asked)
	}
	cloud.sent("")
	result, err := copyTo(t, m, repository, "v1-again")
	if err != nil {
		t.Fatal(err)
	}
	if blobs := cloud.sent("/blobs/"); len(blobs) > 0 || result.Present.Blobs != 151 {
		t.Errorf("%d blobs were there, and there were %d requests about blobs: %q", result.Present.Blobs, len(blobs), blobs)
	}

	// Few are looked up one by one, beside the start of their uploads.
	cloud.asked = nil
	if _, err := copyTo(t, layered(3), repository, "few"); err != nil || len(cloud.asked) > 0 {
		t.Errorf("%v, asked %v", err, cloud.asked)
	}
	// Where it may not be asked, nothing is lost.
	cloud.forbidden = "BatchCheckLayerAvailability"
	if result, err := copyTo(t, m, repository, "v3"); err != nil || result.Copied.Blobs+result.Present.Blobs != 151 {
		t.Errorf("%v, %+v", err, result)
	}
	// Nor with credentials that are Docker's: none of AWS are looked for.
	stranger := &Repository{Repository: repository.Repository, client: New(Options{Endpoint: "http://127.0.0.1:1"}), at: repository.at}
	if held := stranger.Holds(t.Context(), []store.Descriptor{{Digest: digest.FromString("x")}}); held != nil {
		t.Errorf("held: %v", held)
	}
}

func TestImmutableTags(t *testing.T) {
	cloud := &cloud{}
	repository := begin(t, cloud, host, "team/app", &Settings{ImmutableTags: true})
	if _, err := copyTo(t, layered(1), repository, "v1"); err != nil {
		t.Fatal(err)
	}
	// The same once more, whether or not it is noticed beforehand.
	if result, err := copyTo(t, layered(1), repository, "v1"); err != nil || !result.Unchanged {
		t.Errorf("%+v, %v", result, err)
	}
	m := layered(1)
	found, err := m.Manifest(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := repository.PushManifest(t.Context(), found.Descriptor, found.Raw, "v1"); err != nil {
		t.Errorf("the same manifest: %v", err)
	}
	_, err = copyTo(t, layered(2), repository, "v1")
	for _, s := range []string{"tag v1 names " + found.Descriptor.Digest.String() + " and cannot be moved", "write another tag", "aws ecr put-image-tag-mutability --repository-name team/app --image-tag-mutability MUTABLE --region eu-west-1"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%v: does not say %q", err, s)
		}
	}
}
