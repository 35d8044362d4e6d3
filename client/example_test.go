package client_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wabek/client"
)

// Issue an OTP, and verify what was typed. Whatever may be tried again is, until the context ends, and the phone gets one
// message all the same.
func Example() {
	c, err := client.New("https://otp.example.org", "wbk_…")
	if err != nil {
		fmt.Println("no client:", err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	issued, err := c.Issue(ctx, client.IssueRequest{Phone: "+905551234567", Purpose: "login"})
	if err != nil {
		fmt.Println("no OTP:", err)
		return
	}
	fmt.Println("Sent to", issued.To)

	verdict, err := c.Verify(ctx, client.VerifyRequest{ID: issued.ID, Code: "123456"})
	switch {
	case err != nil:
		fmt.Println("not verified:", err)
	case verdict.Valid:
		fmt.Println("Welcome.")
	case verdict.Reason == client.ReasonWrong:
		fmt.Println("Wrong,", verdict.AttemptsLeft, "tries left.")
	default:
		fmt.Println(verdict.Reason)
	}
}

// What a refusal says.
func ExampleError() {
	var err error = &client.Error{
		Status: 429, Code: client.CodeRateLimited, Limit: "phone_cooldown", Detail: "Wait for as long as Retry-After says.",
		RetryAfter: 30 * time.Second, RequestID: "5b1f0c9ad2e4-1z",
	}
	if e, ok := errors.AsType[*client.Error](err); ok && e.Code == client.CodeRateLimited {
		fmt.Println("again in", e.RetryAfter)
	}
	fmt.Println(err)
	// Output:
	// again in 30s
	// wabek: 429 rate_limited phone_cooldown: Wait for as long as Retry-After says. (request 5b1f0c9ad2e4-1z)
}

// The name of what an OTP is for, kept with it, makes asking safe even if this program ends meanwhile.
func ExampleOnce() {
	c, err := client.New("https://otp.example.org", "wbk_…")
	if err != nil {
		fmt.Println("no client:", err)
		return
	}
	ask := client.IssueRequest{Phone: "+905551234567", Purpose: "payment"}
	if _, err := c.Issue(context.Background(), ask, client.Once("payment-4711")); err != nil {
		fmt.Println("no OTP:", err)
	}
}

// Wait until a device of the recipient has the message.
func ExampleClient_Events() {
	c, err := client.New("https://otp.example.org", "wbk_…")
	if err != nil {
		fmt.Println("no client:", err)
		return
	}
	for event, err := range c.Events(context.Background(), "01a20cc8-8e80-7987-bece-6d368aac1a6f", "") {
		if err != nil {
			fmt.Println("not followed:", err)
			return
		}
		fmt.Println(event.OTP.Status)
		if event.OTP.Status.Arrived() || event.OTP.State != client.StateOpen {
			return
		}
	}
}
