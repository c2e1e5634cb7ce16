package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"berth/internal/cachedir"
	"berth/rootfs"
	"berth/store"
	"berth/store/cached"
)

// cacheFlag adds --no-cache to a command that reads layers.
func (a *app) cacheFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.noCache, "no-cache", false, "do without what was read before, and keep nothing (the cache is in the folder $"+cacheVariable+", or in the user's cache folder)")
}

// cacheVariable is the environment variable that names the folder of the cache: what a CI system is
// to keep between jobs, for example.
const cacheVariable = "BERTH_CACHE"

// cache is what layers had that were read before, or nil.
func (a *app) cache() rootfs.Cache {
	if c := a.cacheFolder("layers"); c != nil {
		return c
	}
	return nil
}

// remembered is src with the manifests and configs that were read before. Offline, src is
// nil: it is all that there is.
func (a *app) remembered(src store.Source, ref store.Reference) store.Source {
	var cache cached.Cache = nothing{}
	if c := a.cacheFolder("images"); c != nil {
		cache = c
	}
	return cached.New(src, ref.Host+"/"+ref.Repository, cache)
}

// nothing is a cache that has nothing.
type nothing struct{}

// Get returns nothing.
func (nothing) Get(string) []byte { return nil }

// Put keeps nothing.
func (nothing) Put(string, []byte) {}

// cacheFolder is a folder of the cache, or nil: --no-cache, or no place for it.
func (a *app) cacheFolder(name string) *folderCache {
	folder := os.Getenv(cacheVariable)
	if folder == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil // no home: a container, a service
		}
		folder = filepath.Join(user, "berth")
	}
	if a.noCache {
		return nil
	}
	a.cacheFolders.Lock()
	defer a.cacheFolders.Unlock()
	if a.cacheFolders.open[name] == nil {
		if a.cacheFolders.open == nil {
			a.cacheFolders.open = map[string]*folderCache{}
		}
		a.cacheFolders.open[name] = &folderCache{dir: cachedir.New(filepath.Join(folder, name), 0), stderr: a.stderr}
	}
	return a.cacheFolders.open[name]
}

// cacheFolders are those that are open.
type cacheFolders struct {
	sync.Mutex
	open map[string]*folderCache
}

// folderCache is a folder of the user's whose failures are a warning.
type folderCache struct {
	dir    *cachedir.Dir
	stderr io.Writer
	warned sync.Once
}

// Get returns what the folder has, and nothing where it cannot be read.
func (c *folderCache) Get(name string) []byte {
	raw, err := c.dir.Get(name)
	c.warn(err)
	return raw
}

// Put keeps data where the folder can be written to.
func (c *folderCache) Put(name string, data []byte) { c.warn(c.dir.Put(name, data)) }

// warn says the first failure, and what avoids it. The answer is the same.
func (c *folderCache) warn(err error) {
	if err != nil {
		c.warned.Do(func() {
			_, _ = fmt.Fprintf(c.stderr, "berth: warning: %s (--no-cache does without)\n", err)
		})
	}
}
