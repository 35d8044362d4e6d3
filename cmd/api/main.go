// Command api is wabek's API. With nothing configured it is all of wabek in one process.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"wabek/internal/app/apiapp"
	"wabek/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := apiapp.Main(ctx, os.Args[1:], config.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
