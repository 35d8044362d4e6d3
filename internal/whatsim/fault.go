package whatsim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrBadFault says that a fault can't be what it asks for; the text says what is allowed.
var ErrBadFault = errors.New("no such fault")

// The kinds of faults.
const (
	kindDrop             = "drop"
	kindAckDelay         = "ack_delay"
	kindAckWithhold      = "ack_withhold"
	kindAckError         = "ack_error"
	kindReceiptDelay     = "receipt_delay"
	kindReceiptWithhold  = "receipt_withhold"
	kindReceiptBeforeAck = "receipt_before_ack"
	kindRetryReceipt     = "retry_receipt"
	kindSilentDrop       = "silent_drop"
	kindStreamError      = "stream_error"
	kindLoginFailure     = "login_failure"
)

func faultKinds() []string {
	return []string{
		kindDrop, kindAckDelay, kindAckWithhold, kindAckError, kindReceiptDelay, kindReceiptWithhold,
		kindReceiptBeforeAck, kindRetryReceipt, kindSilentDrop, kindStreamError, kindLoginFailure,
	}
}

const anyone = "*"

// Fault is a misbehaviour of the server or of a phone that hits the next fitting stanzas or logins.
type Fault struct {
	// Account is the sending account it is for, digits; "" and "*" are all.
	Account string `json:"account"`
	// Phone is the recipient it is for, digits; "" and "*" are all. stream_error and login_failure look at the
	// account only.
	Phone string `json:"phone"`
	// Kind is one of drop, ack_delay, ack_withhold, ack_error, receipt_delay, receipt_withhold,
	// receipt_before_ack, retry_receipt, silent_drop, stream_error, login_failure.
	Kind string `json:"kind"`
	// Code is the error of ack_error, stream_error (0: replaced) and login_failure.
	Code int `json:"code"`
	// MS is the delay of ack_delay and receipt_delay in milliseconds, and how long a login_failure 402 lasts.
	MS int `json:"ms"`
	// Count is how often it strikes: 0 is once, -1 until it is deleted.
	Count int `json:"count"`
}

func (f *Fault) check() error {
	if f.Account == "" {
		f.Account = anyone
	}
	if f.Phone == "" {
		f.Phone = anyone
	}
	if f.Count == 0 {
		f.Count = 1
	}
	for _, d := range []string{f.Account, f.Phone} {
		if d != anyone {
			if err := checkDigits(d); err != nil {
				return fmt.Errorf("%w: %w (or %q for all)", ErrBadFault, err, anyone)
			}
		}
	}
	switch {
	case !slices.Contains(faultKinds(), f.Kind):
		return fmt.Errorf("%w: kind %q: allowed are %s", ErrBadFault, f.Kind, strings.Join(faultKinds(), ", "))
	case f.Count < -1:
		return fmt.Errorf("%w: count %d: allowed are -1 (until deleted) and 1 or more", ErrBadFault, f.Count)
	case f.MS < 0 || f.Code < 0:
		return fmt.Errorf("%w: ms and code must not be negative", ErrBadFault)
	case f.MS == 0 && (f.Kind == kindAckDelay || f.Kind == kindReceiptDelay):
		return fmt.Errorf("%w: %s needs ms, the delay in milliseconds", ErrBadFault, f.Kind)
	case f.Code == 0 && (f.Kind == kindAckError || f.Kind == kindLoginFailure):
		return fmt.Errorf("%w: %s needs a code, such as 463 for an ack or 403 for a login", ErrBadFault, f.Kind)
	}
	return nil
}

func (f *Fault) fits(kind, account, phone string) bool {
	return f.Kind == kind && (f.Account == anyone || f.Account == account) && (phone == "" || f.Phone == anyone || f.Phone == phone)
}

// faults is the list of what is still to go wrong, in the order it was asked for.
type faults struct {
	some   atomic.Bool // false is the way past the lock
	mu     sync.Mutex
	lastID int
	list   []*Fault
}

// add puts a fault on the list. spent is how many of its strokes have been used already.
func (fs *faults) add(f Fault, spent int) string {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.lastID++
	if f.Count > 0 {
		f.Count -= spent
	}
	if f.Count != 0 {
		fs.list = append(fs.list, &f)
		fs.some.Store(true)
	}
	return "f" + strconv.Itoa(fs.lastID)
}

func (fs *faults) clear() {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.list = nil
	fs.some.Store(false)
}

// take uses up one stroke of the first fault that fits. An empty phone fits all.
func (fs *faults) take(kind, account, phone string) (Fault, bool) {
	if !fs.some.Load() {
		return Fault{}, false
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.takeLocked(kind, account, phone)
}

func (fs *faults) takeLocked(kind, account, phone string) (Fault, bool) {
	for i, f := range fs.list {
		if !f.fits(kind, account, phone) {
			continue
		}
		if f.Count > 0 {
			f.Count--
		}
		if f.Count == 0 {
			fs.list = slices.Delete(fs.list, i, i+1)
			fs.some.Store(len(fs.list) > 0)
		}
		return *f, true
	}
	return Fault{}, false
}

// effects are what the faults do to one message.
type effects struct {
	drop, silent, withholdAck, receiptsFirst bool
	ackError                                 int
	ackDelay, receiptDelay                   time.Duration
	withholdReceipts, askAgain               bool
}

// forMessage uses up the faults on one message. Of those that keep it from its phone only the first of drop,
// ack_error, silent_drop strikes, and none that is about receipts with it.
func (fs *faults) forMessage(account, phone string, retry bool) effects {
	var fx effects
	if !fs.some.Load() {
		return fx
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	take := func(kind string) (Fault, bool) { return fs.takeLocked(kind, account, phone) }
	if _, fx.drop = take(kindDrop); fx.drop {
		return fx
	}
	if f, ok := take(kindAckError); ok {
		fx.ackError = f.Code
		return fx
	}
	if f, ok := take(kindAckDelay); ok {
		fx.ackDelay = time.Duration(f.MS) * time.Millisecond
	}
	if _, fx.silent = take(kindSilentDrop); fx.silent {
		return fx
	}
	_, fx.withholdAck = take(kindAckWithhold)
	_, fx.receiptsFirst = take(kindReceiptBeforeAck)
	_, fx.withholdReceipts = take(kindReceiptWithhold)
	if f, ok := take(kindReceiptDelay); ok {
		fx.receiptDelay = time.Duration(f.MS) * time.Millisecond
	}
	if !retry { // the phone asks once, also if the fault has more strokes
		_, fx.askAgain = take(kindRetryReceipt)
	}
	return fx
}

// AddFault adds a fault and returns its id. A stream_error strikes at once all connected sessions of the account;
// if there is none, or strokes are left, it waits for the next logins. It fails with ErrBadFault.
func (s *Server) AddFault(f Fault) (string, error) {
	if err := f.check(); err != nil {
		return "", err
	}
	if f.Kind != kindStreamError {
		return s.faults.add(f, 0), nil
	}
	spent := 0
	for _, d := range s.allDevices() {
		if c := d.current(); c != nil && (f.Account == anyone || f.Account == d.account.digits) {
			s.streamError(d, c, f.Code)
			spent = 1
		}
	}
	return s.faults.add(f, spent), nil
}

// ClearFaults forgets all faults.
func (s *Server) ClearFaults() { s.faults.clear() }
