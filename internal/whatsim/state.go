package whatsim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
)

const (
	// accountsFile holds what must never be lost: keys, pairings, device numbers. It is small, and written before
	// a client is told of a change.
	accountsFile = "accounts.json"
	// stateFile holds the rest, and is written some time after a change. After a kill it is a little old: a phone
	// that lacks a Signal session then asks for the message again, a client with too few prekeys uploads new ones.
	stateFile = "state.json"

	saveDelay = 500 * time.Millisecond
	// saveShare bounds the time spent on saving: after a save of n seconds the next waits n times this.
	saveShare = 10
)

// disk writes the state files. With dir "" it does nothing.
type disk struct {
	dir   string
	dirty chan struct{}
	mu    sync.Mutex // one writer at a time
}

func newDisk(dir string) *disk { return &disk{dir: dir, dirty: make(chan struct{}, 1)} }

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

// touch says that the state has changed.
func (d *disk) touch() {
	select {
	case d.dirty <- struct{}{}:
	default:
	}
}

// write replaces a file by temp file and rename. d.mu is held.
func (d *disk) write(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(d.dir, name+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), d.path(name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (d *disk) read(name string, v any) error {
	if d.dir == "" {
		return nil
	}
	data, err := os.ReadFile(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s is not readable, delete it to start anew: %w", d.path(name), err)
	}
	return nil
}

// keptAccounts is accounts.json.
type keptAccounts struct {
	Root     []byte                 `json:"root"`   // private keys
	Static   []byte                 `json:"static"` //
	Seed     []byte                 `json:"seed"`
	Accounts map[string]keptAccount `json:"accounts"`
}

type keptAccount struct {
	Last    uint16       `json:"last"`
	Devices []keptDevice `json:"devices"`
}

type keptDevice struct {
	Number       uint16 `json:"number"`
	Noise        []byte `json:"noise"`
	Identity     []byte `json:"identity"`
	Registration uint32 `json:"registration"`
}

// keptState is state.json.
type keptState struct {
	Uploads []keptUpload `json:"uploads"`
	Phones  []keptPhone  `json:"phones"`
}

// keptUpload is what a client has uploaded and what waits for it.
type keptUpload struct {
	Account      string   `json:"account"`
	Number       uint16   `json:"number"`
	Registration uint32   `json:"registration"`
	Signed       []byte   `json:"signed"` // keys: 4 bytes of id, 32 of key
	Signature    []byte   `json:"signature"`
	OneTime      []byte   `json:"one_time"` // one after the other
	Outbox       [][]byte `json:"outbox,omitempty"`
}

type keptPhone struct {
	Digits     string            `json:"digits"`
	Settings   phoneState        `json:"settings"`
	Generation uint32            `json:"generation,omitempty"`
	LastPreKey uint32            `json:"last_prekey,omitempty"`
	Sessions   map[string][]byte `json:"sessions,omitempty"`
	Shown      []Message         `json:"shown,omitempty"`
	Asked      []keptAsked       `json:"asked,omitempty"`
	Backlog    []keptParcel      `json:"backlog,omitempty"`
}

type keptAsked struct {
	From  string `json:"from"`
	ID    string `json:"id"`
	Times int    `json:"times"`
}

type keptParcel struct {
	Account string `json:"account"`
	Number  uint16 `json:"number"`
	ID      string `json:"id"`
	Type    string `json:"type"`
	Data    []byte `json:"data"`
}

func (d *disk) loadAccounts() (keptAccounts, error) {
	var kept keptAccounts
	if d.dir == "" {
		return kept, nil
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return kept, err
	}
	return kept, d.read(accountsFile, &kept)
}

// saveAccounts writes accounts.json now.
func (s *Server) saveAccounts() error {
	if s.disk.dir == "" {
		return nil
	}
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	kept := keptAccounts{Root: s.root.Priv[:], Static: s.static[:], Seed: s.seed[:], Accounts: map[string]keptAccount{}}
	s.dirMu.RLock()
	for digits, a := range s.accounts {
		k := keptAccount{Last: a.last}
		for _, d := range a.devices {
			d.mu.Lock()
			k.Devices = append(k.Devices, keptDevice{
				Number: d.number, Noise: d.noise[:], Identity: d.identity[:], Registration: d.registration,
			})
			d.mu.Unlock()
		}
		kept.Accounts[digits] = k
	}
	s.dirMu.RUnlock()
	if err := s.disk.write(accountsFile, kept); err != nil {
		return fmt.Errorf("save accounts: %w", err)
	}
	return nil
}

// saveLoop writes state.json some time after each change.
func (s *Server) saveLoop() {
	wait := saveDelay
	for {
		select {
		case <-s.disk.dirty:
		case <-s.stop:
			return
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-s.stop:
			t.Stop()
			return // Close saves
		}
		select {
		case <-s.disk.dirty: // covered by this save
		default:
		}
		start := time.Now()
		if err := s.save(); err != nil {
			s.log.Error("state not saved", "err", err)
		}
		wait = max(saveDelay, saveShare*time.Since(start))
	}
}

// save writes state.json now.
func (s *Server) save() error {
	if s.disk.dir == "" {
		return nil
	}
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	var kept keptState
	for _, d := range s.allDevices() {
		kept.Uploads = append(kept.Uploads, d.kept())
	}
	s.dirMu.RLock()
	phones := make([]*phone, 0, len(s.phones))
	for _, p := range s.phones {
		phones = append(phones, p)
	}
	s.dirMu.RUnlock()
	for _, p := range phones {
		if k, ok := p.kept(); ok {
			kept.Phones = append(kept.Phones, k)
		}
	}
	if err := s.disk.write(stateFile, kept); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}

// allDevices lists the paired companions by account and number.
func (s *Server) allDevices() []*device {
	s.dirMu.RLock()
	defer s.dirMu.RUnlock()
	var out []*device
	for _, a := range s.accounts {
		for _, d := range a.devices {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b *device) int {
		if a.account != b.account {
			return cmp.Compare(a.account.digits, b.account.digits)
		}
		return byNumber(a, b)
	})
	return out
}

func packKey(b []byte, k publicKey) []byte {
	return append(append(b, uint32Bytes(k.ID)...), k.Pub[:]...)
}

func unpackKeys(b []byte) []publicKey {
	out := make([]publicKey, 0, len(b)/36)
	for ; len(b) >= 36; b = b[36:] {
		out = append(out, publicKey{ID: readUint(b[:4]), Pub: [32]byte(b[4:36])})
	}
	return out
}

func (d *device) kept() keptUpload {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := keptUpload{
		Account: d.account.digits, Number: d.number, Registration: d.registration,
		Signed: packKey(nil, d.signed), Signature: d.signature[:],
	}
	for _, key := range d.oneTime {
		k.OneTime = packKey(k.OneTime, key)
	}
	for _, n := range d.waiting() {
		if raw, err := waBinary.Marshal(n); err == nil {
			k.Outbox = append(k.Outbox, raw)
		}
	}
	return k
}

func (d *device) restore(k keptUpload) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.registration = k.Registration
	if signed := unpackKeys(k.Signed); len(signed) == 1 && len(k.Signature) == 64 {
		d.signed, d.signature = signed[0], [64]byte(k.Signature)
	}
	d.oneTime = unpackKeys(k.OneTime)
	for _, raw := range k.Outbox {
		if len(raw) < 2 {
			continue
		}
		if n, err := waBinary.Unmarshal(raw[1:]); err == nil { // the first byte is a flag
			d.keep(asBytes([]node{*n})[0])
		}
	}
}

// kept returns what of a phone is not as a fresh one's; false if nothing.
func (p *phone) kept() (keptPhone, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.signal == nil && p.generation == 0 && p.settings == defaultPhoneState() && len(p.sessions)+len(p.backlog) == 0 {
		return keptPhone{}, false
	}
	k := keptPhone{
		Digits: p.digits, Settings: p.settings, Generation: p.generation, LastPreKey: p.lastPreKey,
		Sessions: p.snapshotSessions(), Shown: slices.Clone(p.shown),
	}
	for key, times := range p.asked {
		k.Asked = append(k.Asked, keptAsked{From: key.from, ID: key.id, Times: times})
	}
	for _, in := range p.backlog {
		k.Backlog = append(k.Backlog, keptParcel{
			Account: in.sender.account.digits, Number: in.sender.number, ID: in.id, Type: in.typ, Data: in.data,
		})
	}
	return k, true
}

// restore makes the accounts and phones of the state files. It runs before the server is reachable.
func (s *Server) restore(kept keptAccounts) error {
	var state keptState
	if err := s.disk.read(stateFile, &state); err != nil {
		return err
	}
	for digits, k := range kept.Accounts {
		if checkDigits(digits) != nil {
			continue
		}
		a := &account{phone: s.phone(digits), last: k.Last, devices: make(map[uint16]*device)}
		for _, d := range k.Devices {
			if len(d.Noise) == 32 && len(d.Identity) == 32 {
				a.devices[d.Number] = newDevice(a.phone, d.Number, [32]byte(d.Noise), [32]byte(d.Identity), d.Registration)
			}
		}
		s.accounts[digits] = a
	}
	for _, k := range state.Uploads {
		if d := s.device(k.Account, k.Number); d != nil {
			d.restore(k)
		}
	}
	for _, k := range state.Phones {
		if checkDigits(k.Digits) == nil {
			s.restorePhone(k)
		}
	}
	return nil
}

func (s *Server) restorePhone(k keptPhone) {
	p := s.phone(k.Digits)
	p.settings, p.generation, p.lastPreKey, p.sessions = k.Settings, k.Generation, k.LastPreKey, k.Sessions
	for _, m := range k.Shown {
		p.show(messageKey{from: m.From, id: m.ID}, m)
	}
	for _, a := range k.Asked {
		if p.asked == nil {
			p.asked = make(map[messageKey]int)
		}
		p.asked[messageKey{from: a.From, id: a.ID}] = a.Times
	}
	for _, in := range k.Backlog {
		if d := s.device(in.Account, in.Number); d != nil {
			p.backlog = append(p.backlog, parcel{sender: d, id: in.ID, typ: in.Type, data: in.Data})
		}
	}
}
