// Command demo is wabek with a WhatsApp simulator instead of WhatsApp: no phone, no configuration.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"wabek/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], config.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
