package otp_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/phone"
)

// noStore stores nothing: what is left is what the domain itself costs.
type noStore struct{ record otp.Record }

func (s *noStore) Issue(_ context.Context, d otp.Draft, _ otp.Admit) error {
	s.record = d.Record
	return nil
}

func (s *noStore) Update(_ context.Context, _ otp.ID, c otp.Change) error {
	r := s.record
	return c.Rule(&r, &otp.History{})
}

func (s *noStore) Get(context.Context, otp.ID) (otp.Record, error) { return s.record, nil }

func (s *noStore) Answered(context.Context, *otp.Once) error { return nil }

func (s *noStore) Forgive(context.Context, string, phone.Hash) error { return nil }

func (s *noStore) Latest(context.Context, string, phone.Hash, string) (otp.ID, error) {
	return s.record.ID, nil
}

func benchService(b *testing.B) *otp.Service {
	b.Helper()
	secret, err := keys.NewSecret("a secret of at least thirty-two characters")
	require.NoError(b, err)
	ring, _, err := keys.OpenRing(nil, secret, keys.Secret{})
	require.NoError(b, err)
	s, err := otp.NewService(&noStore{}, ring, keys.DeriveSealKeys(secret, keys.Secret{}),
		otp.Policy{Length: 6, Expiry: 10 * time.Minute, MaxAttempts: 5}, rand.Reader, time.Now)
	require.NoError(b, err)
	return s
}

// BenchmarkIssue is all of an issue but its parsing and its storing: drawing, hashing, sealing.
func BenchmarkIssue(b *testing.B) {
	s := benchService(b)
	to, err := phone.Parse("+905551234567")
	require.NoError(b, err)
	r := otp.Request{App: otp.DefaultApp, Pool: "default", Phone: to, Purpose: "verification"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Issue(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify is the rule of a verification, without its storing.
func BenchmarkVerify(b *testing.B) {
	s := benchService(b)
	to, err := phone.Parse("+905551234567")
	require.NoError(b, err)
	issued, err := s.Issue(context.Background(), otp.Request{App: otp.DefaultApp, Pool: "default", Phone: to, Purpose: "verification"})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Verify(context.Background(), otp.Try{App: otp.DefaultApp, ID: issued.ID, Code: "000000"}); err != nil {
			b.Fatal(err)
		}
	}
}
