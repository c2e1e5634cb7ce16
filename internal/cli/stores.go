package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"berth/image"
	"berth/store"
	"berth/store/ecr"
	"berth/store/local"
	"berth/store/registry"
)

// stores opens what references name. All registries of a run share one client,
// and with it tokens and connections.
type stores struct {
	mu     sync.Mutex
	client *registry.Client
	open   []io.Closer
}

// open reads a reference and opens the image it names.
func (a *app) open(ctx context.Context, arg string) (store.Source, *image.Image, error) {
	ref, err := store.ParseReference(arg)
	if err != nil {
		return nil, nil, usageError{err}
	}
	src, err := a.source(ref)
	if err != nil {
		return nil, nil, err
	}
	im, err := image.Open(ctx, src, ref.Identifier())
	return src, im, err
}

// source opens a reference for reading.
func (a *app) source(ref store.Reference) (store.Source, error) {
	if ref.Transport == store.OCILayout {
		return opened(a, ref.Path, local.OpenLayout)
	}
	return a.repository(ref)
}

// destination opens a reference for writing.
func (a *app) destination(ref store.Reference) (store.Destination, error) {
	if ref.Transport == store.OCILayout {
		return opened(a, ref.Path, local.CreateLayout)
	}
	return a.repository(ref)
}

// repository is a repository of a registry, for both.
func (a *app) repository(ref store.Reference) (interface {
	store.Source
	store.Destination
}, error) {
	client, err := a.registries()
	if err != nil {
		return nil, err
	}
	repository := client.Repository(ref.Host, ref.Repository)
	if onECR, ok := ecr.Wrap(repository); ok {
		return onECR, nil
	}
	return repository, nil
}

// opened opens a layout that lives as long as the run.
func opened(a *app, path string, open func(string) (*local.Layout, error)) (*local.Layout, error) {
	layout, err := open(path)
	if err != nil {
		return nil, err
	}
	a.stores.mu.Lock()
	defer a.stores.mu.Unlock()
	a.stores.open = append(a.stores.open, layout)
	return layout, nil
}

// registries is the client for all registries of this run.
func (a *app) registries() (*registry.Client, error) {
	a.stores.mu.Lock()
	defer a.stores.mu.Unlock()
	if a.stores.client != nil {
		return a.stores.client, nil
	}
	config, err := a.readRegistryConfig()
	if err != nil {
		return nil, err
	}
	a.stores.client = registry.New(registry.Options{
		Credentials: ecr.Credentials(registry.DefaultCredentials(podmanFiles()...), ecr.Options{}),
		Config:      config,
		UserAgent:   "berth/" + version(),
	})
	return a.stores.client, nil
}

// podmanFiles are where podman and skopeo keep credentials, in their order:
// containers-auth.json(5).
func podmanFiles() []string {
	files := []string{os.Getenv("REGISTRY_AUTH_FILE")}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		files = append(files, filepath.Join(dir, "containers", "auth.json"))
	}
	// Not os.UserConfigDir: on macOS too podman looks here.
	config := os.Getenv("XDG_CONFIG_HOME")
	if home, err := os.UserHomeDir(); config == "" && err == nil {
		config = filepath.Join(home, ".config")
	}
	if config != "" {
		files = append(files, filepath.Join(config, "containers", "auth.json"))
	}
	return files
}

func (a *app) readRegistryConfig() (registry.Config, error) {
	if a.registryConfig == "" {
		return registry.Config{}, nil
	}
	f, err := os.Open(a.registryConfig)
	if err != nil {
		return registry.Config{}, usagef("--registry-config: %w", err)
	}
	defer f.Close()
	config, err := registry.ReadConfig(f)
	if err != nil {
		return registry.Config{}, usagef("--registry-config %s: %w", a.registryConfig, err)
	}
	return config, nil
}

// requests is how many were sent to registries so far.
func (a *app) requests() int64 {
	a.stores.mu.Lock()
	defer a.stores.mu.Unlock()
	if a.stores.client == nil {
		return 0
	}
	return a.stores.client.Requests()
}

// close gives back what the run opened.
func (a *app) close() error {
	a.stores.mu.Lock()
	defer a.stores.mu.Unlock()
	if a.stores.client != nil {
		a.stores.client.CloseIdleConnections()
	}
	for _, c := range a.stores.open {
		if err := c.Close(); err != nil {
			return fmt.Errorf("closing a layout: %w", err)
		}
	}
	return nil
}
