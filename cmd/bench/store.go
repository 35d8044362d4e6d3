package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"wabek/internal/otp"
	"wabek/internal/phone"
	"wabek/internal/record/bolt"
)

// storeSpec is a phase of a store: goroutines that issue one OTP after another.
type storeSpec struct {
	Bare       bool          `json:"bare"`
	Goroutines int           `json:"goroutines"`
	For        time.Duration `json:"for"`
}

// runStore holds the product's record store at -data and a bare loop beside it.
func runStore(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	flags := flag.NewFlagSet("store", flag.ContinueOnError)
	dir := flags.String("data", "", "data directory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	draft, value, row, err := example(ctx, *dir+"-example")
	if err != nil {
		return err
	}
	began := time.Now()
	seeds, err := openSeeder(ctx, *dir, 0, 0)
	if err != nil {
		return err
	}
	opened := time.Since(began)
	defer func() { err = errors.Join(err, seeds.close()) }()
	bare, err := openBare(*dir+"-bare.db", value, row)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.close()) }()
	return answerCalls(ctx, in, out, map[string]handler{
		"opened": on(func(context.Context, nothing) (float64, error) { return opened.Seconds(), nil }),
		"phase": on(func(ctx context.Context, s storeSpec) (float64, error) {
			op := func() error { return issueDraft(ctx, seeds.store, draft) }
			if s.Bare {
				op = bare.put
			}
			return hammer(s, op)
		}),
	})
}

// hammer runs op in goroutines and returns how often a second.
func hammer(s storeSpec, op func() error) (float64, error) {
	var (
		group  sync.WaitGroup
		counts = make([]int, s.Goroutines)
		errs   = make([]error, s.Goroutines)
	)
	start := time.Now()
	until := start.Add(s.For)
	for i := range s.Goroutines {
		group.Go(func() {
			n := 0
			for errs[i] == nil && time.Now().Before(until) {
				errs[i] = op()
				n++
			}
			counts[i] = n
		})
	}
	group.Wait()
	took := time.Since(start)
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / took.Seconds(), errors.Join(errs...)
}

// newID is otp.NewID with cheap dice, so that it costs both sides next to nothing.
func newID() (id otp.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(time.Now().UnixMilli())<<16|0x7000|rand.Uint64()&0xfff) //nolint:gosec // no secret
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()&^(1<<63|1<<62)|1<<63)                           //nolint:gosec // no secret
	return id
}

// issueDraft stores a draft under a new id, for another number.
func issueDraft(ctx context.Context, s *bolt.Store, d otp.Draft) error {
	d.Record.ID = newID()
	d.Record.Phone = phone.Hash(d.Record.ID)
	binary.BigEndian.PutUint64(d.Record.Phone[:], rand.Uint64()) //nolint:gosec // no secret
	return s.Issue(ctx, d, func(otp.History) (otp.History, error) {
		return otp.History{Open: d.Record.ID, Expires: d.Record.Expires}, nil
	})
}

// example is an OTP as the product issues it, and the bytes that its store keeps of it.
func example(ctx context.Context, dir string) (draft otp.Draft, value, row []byte, err error) {
	seeds, err := openSeeder(ctx, dir, 0, 0)
	if err != nil {
		return draft, nil, nil, err
	}
	err = errors.Join(seeds.issue(ctx, 0), seeds.close())
	if err != nil {
		return draft, nil, nil, err
	}
	draft = <-seeds.drafts
	db, err := bbolt.Open(filepath.Join(dir, "records.db"), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return draft, nil, nil, fmt.Errorf("read stored bytes: %w", err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		value = slices.Clone(tx.Bucket([]byte("records")).Get(draft.Record.ID[:]))
		row = slices.Clone(tx.Bucket([]byte("outbox")).Get(draft.Record.ID[:]))
		return nil
	})
	return draft, value, row, errors.Join(err, db.Close())
}
