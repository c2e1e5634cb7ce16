// Command berth makes sure that a container image runs where it is deployed.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"berth/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
