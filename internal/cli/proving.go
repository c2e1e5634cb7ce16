package cli

import (
	"fmt"
	"math"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"berth/check"
	"berth/launch"
	"berth/platform"
)

// provingFlags are how prove and check read layers.
type provingFlags struct {
	budget byteSize
	strict bool
	// binfmt are platforms that hosts emulate.
	binfmt []string
}

// provingFlags adds them to a command. Without a budget as much is read as it takes: an
// answer that is certain is worth more than the bytes.
func (a *app) provingFlags(cmd *cobra.Command) *provingFlags {
	f := new(provingFlags)
	cmd.Flags().Var(&f.budget, "budget", "bytes of layers to read for an image at most, such as 8MiB, or none; a proof that it ends is sampled or unknown")
	cmd.Flags().StringArrayVar(&f.binfmt, "binfmt", nil, "hosts emulate this platform (QEMU in binfmt_misc, flag F), such as linux/arm64, or all (repeatable); the default is none")
	a.cacheFlag(cmd)
	return f
}

// emulates are the platforms of --binfmt.
func (f *provingFlags) emulates() ([]platform.Platform, error) {
	known := launch.Emulatable()
	var emulates []platform.Platform
	for _, value := range f.binfmt {
		if value == "all" {
			return known, nil
		}
		p, err := platform.Parse(value)
		if err != nil {
			return nil, usageError{err}
		}
		p.Variant = ""
		if !slices.ContainsFunc(known, func(k platform.Platform) bool { return platform.Equal(k, p) }) {
			return nil, usagef("--binfmt %s: there is no emulator for it (all stands for %s)", value, formats(known))
		}
		emulates = append(emulates, p)
	}
	return emulates, nil
}

func (f *provingFlags) validate() error {
	if _, err := f.emulates(); err != nil {
		return err
	}
	if f.strict && f.budget != 0 {
		return usagef("--strict reads whole layers, and --budget %s ends before: write one of them", &f.budget)
	}
	return nil
}

// prover reads layers as the flags say, or as the zero flags do where there are none.
func (a *app) prover(f *provingFlags) check.Prover {
	p := check.Prover{Cache: a.cache()}
	if f != nil {
		p.MaxFetch, p.Strict = int64(f.budget), f.strict
		p.Emulates, _ = f.emulates() // validate has said what is wrong
	}
	return p
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
