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
)

// cacheFlag adds --no-cache to a command that reads layers.
func (a *app) cacheFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.noCache, "no-cache", false, "neither use nor keep what layers had that were read before (in the folder "+cacheVariable+", or the user's cache folder)")
}

// cacheVariable is the environment variable that names the folder of the cache: what a CI system is
// to keep between jobs, for example.
const cacheVariable = "BERTH_CACHE"

// cache is what layers had that were read before, or nil: --no-cache, or no place for it.
func (a *app) cache() rootfs.Cache {
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
	return &layerCache{dir: cachedir.New(filepath.Join(folder, "layers"), 0), stderr: a.stderr}
}

// layerCache is a folder of the user's whose failures are a warning.
type layerCache struct {
	dir    *cachedir.Dir
	stderr io.Writer
	warned sync.Once
}

func (c *layerCache) Get(name string) []byte {
	raw, err := c.dir.Get(name)
	c.warn(err)
	return raw
}

func (c *layerCache) Put(name string, data []byte) { c.warn(c.dir.Put(name, data)) }

// warn says the first failure, and what avoids it. The answer is the same.
func (c *layerCache) warn(err error) {
	if err != nil {
		c.warned.Do(func() {
			_, _ = fmt.Fprintf(c.stderr, "berth: warning: %s (--no-cache does without)\n", err)
		})
	}
}
