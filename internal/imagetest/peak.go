package imagetest

import (
	"runtime"
	"time"
)

// Peak is how many bytes of memory ask uses at most, beyond what is in use when it
// begins, as seen every 10 ms.
func Peak(ask func()) int64 {
	inUse := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	runtime.GC()
	before, most, done, stopped := inUse(), int64(0), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-tick.C:
				most = max(most, inUse()-before)
			case <-done:
				tick.Stop()
				return
			}
		}
	}()
	ask()
	close(done)
	<-stopped
	return max(most, inUse()-before)
}
