// Command sender delivers jobs through a WhatsApp session, and pairs one.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"wabek/internal/app/senderapp"
	"wabek/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := senderapp.Main(ctx, os.Args[1:], config.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
