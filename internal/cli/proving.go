package cli

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"berth/check"
)

// provingFlags are how prove and check read layers.
type provingFlags struct {
	budget byteSize
}

// provingFlags adds them to a command. Without a budget as much is read as it takes: an
// answer that is certain is worth more than the bytes.
func (a *app) provingFlags(cmd *cobra.Command) *provingFlags {
	f := new(provingFlags)
	cmd.Flags().Var(&f.budget, "budget", "bytes of layers to read for an image at most, such as 8MiB, or none; a proof that it ends is sampled or unknown")
	return f
}

func (a *app) prover(f *provingFlags) check.Prover {
	return check.Prover{MaxFetch: int64(f.budget)}
}

// byteSize is the value of a flag: bytes, or zero for none.
type byteSize int64

func (b *byteSize) String() string {
	if *b == 0 {
		return "none"
	}
	return humanize.IBytes(uint64(*b))
}

func (b *byteSize) Set(s string) error {
	if s == "none" {
		*b = 0
		return nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return fmt.Errorf("write a size such as 500kB or 8MiB, or none")
	}
	*b = byteSize(n)
	return nil
}

// Type is the flag's value in help.
func (b *byteSize) Type() string { return "SIZE" }
