package cli

import (
	"context"
	"errors"
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
	// stdout is what the path "-" stands for in a destination. Nil means the app's.
	stdout io.Writer

	mu     sync.Mutex
	client *registry.Client
	ecr    *ecr.Client
	open   []io.Closer
}

// open reads a reference and opens the image it names.
func (a *app) open(ctx context.Context, arg string) (store.Source, *image.Image, error) {
	ref, err := store.ParseReference(arg)
	if err != nil {
		return nil, nil, usageError{err}
	}
	src, err := a.source(ctx, ref)
	if err != nil {
		return nil, nil, err
	}
	im, err := image.Open(ctx, src, ref.Identifier())
	return src, im, err
}

// source opens a reference for reading.
func (a *app) source(ctx context.Context, ref store.Reference) (store.Source, error) {
	if f, ok := a.stdin.(*os.File); ok && ref.Path == store.Standard && isTerminal(f) {
		return nil, usagef("%s: standard input is a terminal: write … | berth, or the name of a file", ref)
	}
	switch ref.Transport {
	case store.OCILayout:
		return opened(a, func() (*local.Layout, error) { return local.OpenLayout(ref.Path) })
	case store.OCIArchive:
		return opened(a, func() (*local.OCIArchive, error) { return local.OpenOCIArchive(ctx, ref.Path, a.local()) })
	case store.DockerArchive:
		return opened(a, func() (*local.DockerArchive, error) {
			return local.OpenDockerArchive(ctx, ref.Path, ref.Name(), a.local())
		})
	case store.DockerDaemon:
		return opened(a, func() (*local.DockerArchive, error) {
			return local.OpenDaemon(ctx, ref.Name(), ref.Identifier(), a.local())
		})
	}
	return a.repository(ref)
}

// destination opens a reference for writing.
func (a *app) destination(ctx context.Context, ref store.Reference) (store.Destination, error) {
	if ref.Path == store.Standard && isTerminal(a.local().Stdout) {
		return nil, usagef("%s: standard output is a terminal: write berth … > FILE, or the name of a file", ref)
	}
	switch ref.Transport {
	case store.OCILayout:
		return opened(a, func() (*local.Layout, error) { return local.CreateLayout(ref.Path) })
	case store.OCIArchive:
		return opened(a, func() (*local.OCIArchiveWriter, error) { return local.CreateOCIArchive(ref.Path, a.local()) })
	case store.DockerArchive:
		return opened(a, func() (*local.DockerArchiveWriter, error) {
			return local.CreateDockerArchive(ref.Path, ref.Name(), a.local())
		})
	case store.DockerDaemon:
		return opened(a, func() (*local.DockerArchiveWriter, error) { return local.CreateDaemon(ctx, ref.Name(), a.local()) })
	}
	return a.repository(ref)
}

// local is what archives and daemons need of this run.
func (a *app) local() local.Options {
	opts := local.Options{Stdin: a.stdin, Stdout: a.stores.stdout}
	if opts.Stdout == nil {
		opts.Stdout = a.stdout
	}
	return opts
}

// repository is a repository of a registry, for both.
func (a *app) repository(ref store.Reference) (interface {
	store.Source
	store.Destination
}, error,
) {
	client, err := a.registries()
	if err != nil {
		return nil, err
	}
	repository := client.Repository(ref.Host, ref.Repository)
	if onECR, ok := a.stores.ecr.Wrap(repository); ok {
		return onECR, nil
	}
	return repository, nil
}

// opened opens something local that lives as long as the run.
func opened[T io.Closer](a *app, open func() (T, error)) (T, error) {
	it, err := open()
	if err != nil {
		return it, err
	}
	a.stores.mu.Lock()
	defer a.stores.mu.Unlock()
	a.stores.open = append(a.stores.open, it)
	return it, nil
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
	a.stores.ecr = ecr.New(ecr.Options{Create: a.repositories.settings(a)})
	a.stores.client = registry.New(registry.Options{
		Credentials: a.stores.ecr.Credentials(registry.DefaultCredentials(podmanFiles()...)),
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
	var failed error
	for _, c := range a.stores.open {
		if err := c.Close(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("closing what was opened: %w", err))
		}
	}
	return failed
}
