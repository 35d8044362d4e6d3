//nolint:thelper // these are the subtests themselves: a failure must name their own line
package recordtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"wabek/internal/otp"
	"wabek/internal/phone"
)

// captured is a store that keeps the draft and nothing else, to get one made by the product's service.
type captured struct{ draft otp.Draft }

func (c *captured) Issue(_ context.Context, d otp.Draft, _ otp.Admit) error {
	c.draft = d
	return nil
}

func (c *captured) Update(context.Context, otp.ID, otp.Change) error { return otp.ErrNoRecord }

func (c *captured) Get(context.Context, otp.ID) (otp.Record, error) {
	return otp.Record{}, otp.ErrNoRecord
}

func (c *captured) Latest(context.Context, string, phone.Hash, string) (otp.ID, error) {
	return otp.ID{}, otp.ErrNoRecord
}

func (c *captured) Answered(context.Context, *otp.Once) error { return nil }

func (c *captured) Forgive(context.Context, string, phone.Hash) error { return nil }

// together runs fn n times at once.
func together(n int, fn func(i int)) {
	start := make(chan struct{})
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			<-start
			fn(i)
		})
	}
	close(start)
	wait.Wait()
}

// verdicts counts the outcomes of n tries at once.
func (k *kit) verdicts(t *testing.T, s *otp.Service, n int, id otp.ID, code string) map[otp.Verdict]int {
	t.Helper()
	got := make([]otp.Tried, n)
	errs := make([]error, n)
	together(n, func(i int) {
		got[i], errs[i] = s.Verify(context.Background(), otp.Try{App: otp.DefaultApp, ID: id, Code: code})
	})
	require.NoError(t, errors.Join(errs...))
	counts := map[otp.Verdict]int{}
	for _, tried := range got {
		counts[tried.Verdict]++
	}
	return counts
}

func neighbours(t *testing.T, k *kit) {
	const count = 500
	errRule := errors.New("refused by the rule")
	drafts := make([]otp.Draft, count+2)
	for i := range drafts {
		c := &captured{}
		s, err := otp.NewService(c, k.ring, k.seals, policy(), rand.Reader, k.clock.now)
		require.NoError(t, err)
		r := request(t, i%100)
		r.Purpose = fmt.Sprintf("purpose %d", i/100)
		_, err = s.Issue(context.Background(), r)
		require.NoError(t, err)
		drafts[i] = c.draft
	}
	errs := make([]error, len(drafts))
	together(len(drafts), func(i int) {
		errs[i] = k.store.Issue(context.Background(), drafts[i], func(otp.History) (otp.History, error) {
			switch i {
			case count / 2:
				panic("a planted bug")
			case count / 3:
				return otp.History{}, errRule
			}
			return otp.History{Open: drafts[i].Record.ID, Expires: drafts[i].Record.Expires}, nil
		})
	})
	s := k.service(t, policy())
	for i, err := range errs {
		switch i {
		case count / 2:
			require.ErrorIs(t, err, otp.ErrRule)
			require.Equal(t, otp.NotFound, k.verify(t, s, drafts[i].Record.ID, "123456"))
		case count / 3:
			require.ErrorIs(t, err, errRule)
			require.Equal(t, otp.NotFound, k.verify(t, s, drafts[i].Record.ID, "123456"))
		default:
			require.NoError(t, err)
			id := drafts[i].Record.ID
			require.Equal(t, otp.Valid, k.verify(t, s, id, k.code(t, id)))
		}
	}
}

func racingRightCodes(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	require.Equal(t, map[otp.Verdict]int{otp.Valid: 1, otp.AlreadyUsed: 255}, k.verdicts(t, s, 256, id, code))
}

// interrupted is a store in which something happens after the first step of a caller.
type interrupted struct {
	otp.Store
	then func()
}

func (i *interrupted) Update(ctx context.Context, id otp.ID, c otp.Change) error {
	err := i.Store.Update(ctx, id, c)
	i.then()
	return err
}

// tryBetweenSteps holds a verify to one step: a service that reads in one transaction and writes in another gives
// both of these tries their valid.
func tryBetweenSteps(t *testing.T, k *kit) {
	s := k.service(t, policy())
	id, code := k.issue(t, s, request(t, 1))
	var between otp.Verdict
	store := &interrupted{Store: k.store, then: sync.OnceFunc(func() { between = k.verify(t, s, id, code) })}
	first, err := otp.NewService(store, k.ring, k.seals, policy(), rand.Reader, k.clock.now)
	require.NoError(t, err)
	require.Equal(t, otp.Valid, k.verify(t, first, id, code))
	require.Equal(t, otp.AlreadyUsed, between)
}

func racingWrongCodes(t *testing.T, k *kit) {
	p := policy()
	p.MaxAttempts = 10
	s := k.service(t, p)
	id, code := k.issue(t, s, request(t, 1))
	require.Equal(t, map[otp.Verdict]int{otp.Wrong: 10, otp.TooManyAttempts: 54}, k.verdicts(t, s, 64, id, wrong(code)))
	require.Equal(t, otp.TooManyAttempts, k.verify(t, s, id, code))
}

func racingIssues(t *testing.T, k *kit) {
	s := k.service(t, policy())
	const count = 64
	ids := make([]otp.ID, count)
	errs := make([]error, count)
	r := request(t, 1)
	together(count, func(i int) {
		issued, err := s.Issue(context.Background(), r)
		ids[i], errs[i] = issued.ID, err
	})
	require.NoError(t, errors.Join(errs...))
	counts := map[otp.Verdict]int{}
	for _, id := range ids {
		counts[k.verify(t, s, id, k.code(t, id))]++
	}
	require.Equal(t, map[otp.Verdict]int{otp.Valid: 1, otp.WasSuperseded: count - 1}, counts)
}
