package bolt_test

import (
	"context"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"wabek/internal/job"
	"wabek/internal/otp"
	"wabek/internal/phone"
	"wabek/internal/record/bolt"
)

var concurrency = []int{1, 16, 128, 512}

var records = flag.Int("records", 0, "unexpired records that the store of a benchmark holds beforehand")

// template is a record as large as the product's.
func template(b *testing.B) otp.Draft {
	b.Helper()
	d := draft(b, time.Now(), 10*time.Minute, 0)
	d.Record.Sealed = make([]byte, 250)
	d.Job.Sealed = d.Record.Sealed
	return d
}

// newID is otp.NewID with cheap dice, so that it costs both sides of a comparison next to nothing.
func newID() (id otp.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(time.Now().UnixMilli())<<16|0x7000|rand.Uint64()&0xfff)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()&^(1<<63|1<<62)|1<<63)
	return id
}

func load(b *testing.B, goroutines int, op func() error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	var next atomic.Int64
	var wait sync.WaitGroup
	for range goroutines {
		wait.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := op(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// cpu is what this process has used so far. On a machine with other work to do it tells more than the rate.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func issueOne(s *bolt.Store, d otp.Draft) error {
	d.Record.ID = newID()
	d.Job.ID = job.ID("an id of 36 characters, not made here")
	d.Record.Phone = phone.Hash(d.Record.ID)
	binary.BigEndian.PutUint64(d.Record.Phone[:], rand.Uint64())
	after := otp.History{Open: d.Record.ID, Expires: d.Record.Expires}
	return s.Issue(context.Background(), d, func(otp.History) (otp.History, error) { return after, nil })
}

func fill(b *testing.B, s *bolt.Store, d otp.Draft, n int) {
	b.Helper()
	var next atomic.Int64
	var wait sync.WaitGroup
	for range 1024 {
		wait.Go(func() {
			for next.Add(1) <= int64(n) {
				if err := issueOne(s, d); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}

func BenchmarkIssue(b *testing.B) {
	for _, goroutines := range concurrency {
		b.Run(strconv.Itoa(goroutines), func(b *testing.B) {
			d := template(b)
			s := open(b, calm(filepath.Join(b.TempDir(), "records.db"), time.Now))
			fill(b, s, d, *records)
			load(b, goroutines, func() error { return issueOne(s, d) })
		})
	}
}

// BenchmarkBareGroup is the ceiling of BenchmarkIssue: the same bytes in the same group commits, and nothing else.
func BenchmarkBareGroup(b *testing.B) {
	for _, goroutines := range concurrency {
		b.Run(strconv.Itoa(goroutines), func(b *testing.B) {
			d := template(b)
			value, err := bolt.EncodeRecord(&d.Record)
			require.NoError(b, err)
			row, err := bolt.EncodeRow(d.Job)
			require.NoError(b, err)
			bare := openBare(b, value, row)
			load(b, goroutines, bare.put)
		})
	}
}

// bareStore is a bare group-commit loop.
type bareStore struct {
	queue chan bareOp
	done  sync.Pool
}

type bareOp struct {
	id   otp.ID
	done chan error
}

func openBare(b *testing.B, value, row []byte) *bareStore {
	b.Helper()
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, &bbolt.Options{
		FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30, NoFreelistSync: true, NoStatistics: true,
	})
	require.NoError(b, err)
	records, outbox := []byte("records"), []byte("outbox")
	require.NoError(b, db.Update(func(tx *bbolt.Tx) error {
		_, _ = tx.CreateBucket(records)
		_, err := tx.CreateBucket(outbox)
		return err
	}))
	s := &bareStore{queue: make(chan bareOp, 8192), done: sync.Pool{New: func() any { return make(chan error, 1) }}}
	var writer sync.WaitGroup
	writer.Go(func() {
		ops := make([]bareOp, 0, 1024)
		for first := range s.queue {
			ops = append(ops[:0], first)
		drain:
			for len(ops) < cap(ops) {
				select {
				case o := <-s.queue:
					ops = append(ops, o)
				default:
					break drain
				}
			}
			err := db.Update(func(tx *bbolt.Tx) error {
				r, o := tx.Bucket(records), tx.Bucket(outbox)
				r.FillPercent, o.FillPercent = 0.9, 0.9
				for i := range ops {
					if err := r.Put(ops[i].id[:], value); err != nil {
						return err
					}
					if err := o.Put(ops[i].id[:], row); err != nil {
						return err
					}
				}
				return nil
			})
			for i := range ops {
				ops[i].done <- err
			}
		}
	})
	b.Cleanup(func() {
		close(s.queue)
		writer.Wait()
		require.NoError(b, db.Close())
	})
	return s
}

func (s *bareStore) put() error {
	done := s.done.Get().(chan error)
	s.queue <- bareOp{id: newID(), done: done}
	err := <-done
	s.done.Put(done)
	return err
}

// BenchmarkVerify is a right code tried once on records among many: a read, the rule's change, a commit.
func BenchmarkVerify(b *testing.B) {
	for _, goroutines := range concurrency {
		b.Run(strconv.Itoa(goroutines), func(b *testing.B) {
			d := template(b)
			s := open(b, calm(filepath.Join(b.TempDir(), "records.db"), time.Now))
			ids := make([]otp.ID, b.N)
			var wait sync.WaitGroup
			for part := range 1024 {
				wait.Go(func() {
					for i := part; i < len(ids); i += 1024 {
						d := d
						d.Record.ID = newID()
						ids[i] = d.Record.ID
						_ = s.Issue(context.Background(), d, admit(d))
					}
				})
			}
			wait.Wait()
			var next atomic.Int64
			load(b, goroutines, func() error {
				return s.Update(context.Background(), ids[next.Add(1)-1], otp.Change{Rule: func(r *otp.Record, _ *otp.History) error {
					r.State, r.UsedAt, r.Sealed = otp.Used, r.Expires, nil
					return nil
				}})
			})
		})
	}
}

// BenchmarkOpen opens a file of -records unexpired records, every one in the outbox.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "records.db")
	s := open(b, calm(path, time.Now))
	fill(b, s, template(b), *records)
	require.NoError(b, s.Close())
	info, err := os.Stat(path)
	require.NoError(b, err)
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
	for b.Loop() {
		s, err := bolt.Open(calm(path, time.Now))
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, s.Close())
		b.StartTimer()
	}
}
