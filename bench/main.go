// Command bench measures what berth costs.
//
//	go run ./bench copy [ROUNDS]   berth copy beside crane, regctl, oras and skopeo (make bench)
//	go run ./bench figures         requests, round trips, bytes read, the size of the program (make figures)
//
// It starts what it needs on loopback ports that the kernel chooses, and leaves
// nothing behind but the peers that it built into bin/. See docs/bench.md.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// delay is the round-trip time that registries pretend to be away.
	delay = 50 * time.Millisecond
	// rounds of a comparison: an odd number, so that the median is one of them.
	rounds = 5
	// bound ends a comparison that hangs. On two idle cores it takes some four
	// minutes, half of them skopeo's.
	bound = 20 * time.Minute
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("usage: go run ./bench copy [ROUNDS] | many [IMAGES] | faults [MATCH] | figures")
	}
	command, args := args[0], args[1:]
	switch {
	case command == "figures" && len(args) == 0:
		return figures(ctx)
	case command == "faults" && len(args) <= 1:
		ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("stopped after %s", bound))
		defer cancel()
		return faults(ctx, strings.Join(args, ""))
	case command == "many" && len(args) <= 1:
		images := manyImages
		if len(args) == 1 {
			var err error
			if images, err = strconv.Atoi(args[0]); err != nil || images < 1 {
				return fmt.Errorf("%q is not a number of images", args[0])
			}
		}
		ctx, cancel := context.WithTimeoutCause(ctx, 3*bound, fmt.Errorf("stopped after %s", 3*bound))
		defer cancel()
		return many(ctx, images)
	case command == "copy" && len(args) <= 1:
		n := rounds
		if len(args) == 1 {
			var err error
			if n, err = strconv.Atoi(args[0]); err != nil || n < 1 {
				return fmt.Errorf("%q is not a number of rounds", args[0])
			}
		}
		ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("stopped after %s", bound))
		defer cancel()
		return compare(ctx, n)
	// The program starts itself with these.
	case command == "floor" && len(args) == 2:
		return floor(ctx, args[0], args[1])
	case command == "time" && len(args) > 0:
		return stopwatch(ctx, args)
	}
	return fmt.Errorf("%s %q is not known: copy [ROUNDS], many [IMAGES], faults [MATCH] or figures", command, args)
}
