package launch

import (
	"bytes"
	"encoding/binary"
)

// maxCache bounds /etc/ld.so.cache. A Debian desktop's has 200 KiB.
const maxCache = 4 << 20

// readCache reads /etc/ld.so.cache: the paths that it has for each name, those of the usual
// kind alone (struct file_entry_new of glibc's sysdeps/generic/dl-cache.h, since 2.2). It is
// nil where there is none, and the loader then looks into its folders.
func (l *loading) readCache() (map[string][]string, error) {
	const (
		name   = "/etc/ld.so.cache"
		magic  = "glibc-ld.so.cache1.1"
		header = 48
		entry  = 24
	)
	f, ok, err := l.openLibrary(name)
	if err != nil || !ok {
		return nil, err
	}
	if f.info.Size > maxCache {
		return nil, unknown("%s has more than %d MiB", name, maxCache>>20)
	}
	raw, err := l.head(f.info, int(f.info.Size))
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(raw, []byte(magic)) || len(raw) < header {
		return nil, unknown("%s has a format that is not modelled", name)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if l.program.BigEndian() {
		order = binary.BigEndian
	}
	n := uint64(order.Uint32(raw[20:]))
	if n > uint64(len(raw)-header)/entry {
		return nil, unknown("%s is cut off", name)
	}
	text := func(offset uint32) (string, bool) {
		if uint64(offset) >= uint64(len(raw)) {
			return "", false
		}
		s, _, ended := bytes.Cut(raw[offset:], []byte{0})
		return string(s), ended && len(s) < pathMax
	}
	cache := map[string][]string{}
	for i := range n {
		e := raw[header+i*entry:]
		key, ok := text(order.Uint32(e[4:]))
		path, also := text(order.Uint32(e[8:]))
		if !ok || !also {
			return nil, unknown("%s is damaged", name)
		}
		// Those for some CPUs alone have a hwcap: see loading.elsewhere.
		if order.Uint64(e[16:]) == 0 {
			cache[key] = append(cache[key], path)
		}
	}
	return cache, nil
}
