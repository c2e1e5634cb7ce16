package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"berth/store"
	"berth/store/registry"
)

func Example() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/team/app/manifests/v1" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		fmt.Fprint(w, `{"schemaVersion":2,"manifests":[]}`)
	}))
	defer server.Close()

	client := registry.New(registry.Options{Credentials: registry.DefaultCredentials()})
	defer client.CloseIdleConnections()
	repository := client.Repository(server.Listener.Addr().String(), "team/app")

	manifest, err := repository.Manifest(context.Background(), "v1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(manifest.Descriptor.MediaType, manifest.Descriptor.Size)

	_, err = repository.Manifest(context.Background(), "v2")
	fmt.Println(errors.Is(err, store.ErrNotFound))
	// Output:
	// application/vnd.oci.image.index.v1+json 34
	// true
}
