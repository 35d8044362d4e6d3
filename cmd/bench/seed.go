package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"wabek/internal/job"
	"wabek/internal/keys"
	"wabek/internal/otp"
	"wabek/internal/phone"
	"wabek/internal/record/bolt"
)

// seeder issues OTPs through the product's own packages into a data directory that a node opens afterwards.
type seeder struct {
	store   *bolt.Store
	seal    *keys.SealKeys
	service *otp.Service
	drafts  chan otp.Draft // those stored, in about the order of their ids
	clock   atomic.Int64   // Unix ns
	step    int64          // by which the clock goes on with each OTP
}

// openSeeder opens the record store of dir. The OTPs are issued at even steps from since ago until now.
func openSeeder(ctx context.Context, dir string, since time.Duration, n int) (*seeder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	store, err := bolt.Open(bolt.Options{
		Path: filepath.Join(dir, "records.db"), Now: time.Now,
		Logger: quietLog(),
	})
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	s := &seeder{store: store, drafts: make(chan otp.Draft, 1024), step: int64(since) / int64(max(1, n))}
	s.clock.Store(time.Now().Add(-since).UnixNano())
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("seed: %w", err), store.Close())
	}
	return s, nil
}

func (s *seeder) prepare(ctx context.Context) error {
	secret, err := keys.NewSecret(benchSecret)
	if err != nil {
		return err
	}
	stored, err := s.store.Keys()
	if err != nil {
		return err
	}
	ring, changed, err := keys.OpenRing(stored, secret, keys.Secret{})
	if err != nil {
		return err
	}
	if changed != nil {
		if err := s.store.SaveKeys(ctx, changed); err != nil {
			return err
		}
	}
	s.seal = keys.DeriveSealKeys(secret, keys.Secret{})
	s.service, err = otp.NewService(recordingStore{s}, ring, s.seal, otp.Policy{
		Length: otp.MinLength, Expiry: otp.MaxExpiry, MaxAttempts: otp.MaxAttempts,
	}, rand.Reader, s.now)
	return err
}

func (s *seeder) now() time.Time { return time.Unix(0, s.clock.Add(s.step)) }

// recordingStore passes on what was stored.
type recordingStore struct{ s *seeder }

func (r recordingStore) Issue(ctx context.Context, d otp.Draft, admit otp.Admit) error {
	if err := r.s.store.Issue(ctx, d, admit); err != nil {
		return err
	}
	r.s.drafts <- d
	return nil
}

func (r recordingStore) Update(ctx context.Context, id otp.ID, c otp.Change) error {
	return r.s.store.Update(ctx, id, c)
}

func (r recordingStore) Get(ctx context.Context, id otp.ID) (otp.Record, error) {
	return r.s.store.Get(ctx, id)
}

func (r recordingStore) Answered(ctx context.Context, once *otp.Once) error {
	return r.s.store.Answered(ctx, once)
}

func (r recordingStore) Forgive(ctx context.Context, app string, number phone.Hash) error {
	return r.s.store.Forgive(ctx, app, number)
}

func (r recordingStore) Latest(ctx context.Context, app string, number phone.Hash, purpose string) (otp.ID, error) {
	return r.s.store.Latest(ctx, app, number, purpose)
}

// seed issues n OTPs to distinct numbers and notes each as sent, so that a node finds nothing left to do. With a
// file it writes each one's id and code there.
func (s *seeder) seed(ctx context.Context, n int, file string) error {
	var codes *os.File
	if file != "" {
		var err error
		if codes, err = os.Create(file); err != nil { //nolint:gosec // in a directory of our own
			return fmt.Errorf("seed: %w", err)
		}
	}
	noted := make(chan error, 1)
	go func() { noted <- s.note(ctx, codes) }()
	var (
		next  atomic.Int64
		group sync.WaitGroup
		errs  = make([]error, 512)
	)
	for i := range errs {
		group.Go(func() {
			for k := next.Add(1); k <= int64(n) && errs[i] == nil; k = next.Add(1) {
				errs[i] = s.issue(ctx, k)
			}
		})
	}
	group.Wait()
	close(s.drafts)
	err := errors.Join(errors.Join(errs...), <-noted)
	if codes != nil {
		err = errors.Join(err, codes.Close())
	}
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	return nil
}

func (s *seeder) issue(ctx context.Context, k int64) error {
	to, err := phone.Restore(fmt.Sprintf("+44%010d", k))
	if err != nil {
		return err
	}
	for {
		_, err = s.service.Issue(ctx, otp.Request{App: otp.DefaultApp, Pool: job.DefaultPool, Phone: to, Purpose: "verification"})
		if !errors.Is(err, otp.ErrBusy) {
			return err
		}
	}
}

// note writes the codes of what was stored and applies the statuses of jobs that were sent.
func (s *seeder) note(ctx context.Context, codes *os.File) error {
	var (
		buf   *bufio.Writer
		batch []job.Status
		errs  []error
	)
	if codes != nil {
		buf = bufio.NewWriter(codes)
	}
	apply := func() {
		errs = append(errs, s.store.Apply(ctx, batch))
		batch = batch[:0]
	}
	for d := range s.drafts {
		if buf != nil {
			code, err := s.code(d)
			errs = append(errs, err)
			_, err = buf.WriteString(d.Record.ID.String() + code)
			errs = append(errs, err)
		}
		batch = append(batch, job.Status{Job: d.Job.ID, Pool: d.Job.Pool, State: job.Sent, At: time.Now().UTC()})
		if len(batch) == 1024 {
			apply()
		}
		if errors.Join(errs...) == nil {
			errs = errs[:0]
		}
	}
	apply()
	if buf != nil {
		errs = append(errs, buf.Flush())
	}
	return errors.Join(errs...)
}

// code opens a sealed job, as a sender does, and reads the code that its phone would show.
func (s *seeder) code(d otp.Draft) (string, error) {
	body, err := job.Open(s.seal, d.Job)
	if err != nil {
		return "", err
	}
	code := codeLine.FindString(body.Text)
	if code == "" {
		return "", errors.New("a message without a code")
	}
	return code, nil
}

var codeLine = regexp.MustCompile(`(?m)^[0-9]{6}$`)

func (s *seeder) close() error { return s.store.Close() }
