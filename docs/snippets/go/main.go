// Send a one-time password with wabek, ask for it, verify it.
//
//	WABEK_API_KEY=... go run . +905551234567
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"wabek/client"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	url, ok := os.LookupEnv("WABEK_URL")
	if !ok {
		url = "http://127.0.0.1:8080"
	}
	key, _ := os.LookupEnv("WABEK_API_KEY")
	if len(args) != 1 {
		return errors.New("say which phone, like +905551234567")
	}
	c, err := client.New(url, key)
	if err != nil {
		return err
	}

	// The client asks again after a lost connection or a 503, with one Idempotency-Key, so that it happens once.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	issued, err := c.Issue(ctx, client.IssueRequest{Phone: args[0], Purpose: "login"})
	if err != nil {
		return err
	}

	fmt.Fprintf(os.Stdout, "Sent to %s. The code: ", issued.To)
	var code string
	if _, err := fmt.Scanln(&code); err != nil {
		return err
	}

	ctx, cancel = context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	verdict, err := c.Verify(ctx, client.VerifyRequest{ID: issued.ID, Code: code})
	switch {
	case err != nil:
		return err
	case !verdict.Valid:
		return fmt.Errorf("it isn't: %s", verdict.Reason)
	}
	fmt.Fprintln(os.Stdout, "It is right.")
	return nil
}
