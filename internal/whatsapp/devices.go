package whatsapp

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types"
	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"wabek/internal/phone"
)

// Errors of Devices.
var (
	// ErrLocked says that another process has the device database open. Two processes would use the same
	// encryption counters, and phones couldn't read what one of them sends.
	ErrLocked = errors.New("the device database is in use by another process")
	// ErrNoDevice says that no paired device has that session id.
	ErrNoDevice = errors.New("no such paired device")
)

// devicePragmas are the settings of the device database. synchronous(FULL): a ratchet restored from before a lost
// commit makes later messages unreadable, so each commit must reach the disk.
const devicePragmas = "?_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)&_txlock=immediate"

// Stored is a paired device.
type Stored struct {
	ID     string       // the session's id, 8 of a-z and 0-9, never changed
	Number phone.Number // the account it is paired with
	jid    types.JID
}

// Devices is the database of paired devices: their keys, their encryption sessions, and the id of each. One
// process has it at a time. Its methods may be called from many goroutines.
type Devices struct {
	db        *sql.DB
	container *sqlstore.Container
	lock      *os.File
	close     sync.Once
	closeErr  error
}

// OpenDevices opens devices.db in dir, or makes it, with rights for the owner alone. Errors: ErrLocked, and those
// of the file system and SQLite.
func OpenDevices(ctx context.Context, dir string, log *slog.Logger) (*Devices, error) {
	d, err := openDevices(ctx, dir, log)
	if err != nil {
		return nil, fmt.Errorf("open device database: %w", err)
	}
	return d, nil
}

func openDevices(ctx context.Context, dir string, log *slog.Logger) (*Devices, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "devices.db")
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	db, err := openSQLite(path, devicePragmas)
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	// One connection has the best rate and tail, and keeps the write-ahead log small (measured).
	db.SetMaxOpenConns(1)
	d := &Devices{db: db, lock: lock, container: sqlstore.NewWithDB(db, "sqlite", newWALogger(log))}
	if err := d.upgrade(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// lockFile takes the lock of the database. The kernel lets go of it when the process ends, however it ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // in the data directory, which the operator names
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		_ = f.Close()
		return nil, fmt.Errorf("%w (%s is locked)", ErrLocked, path)
	case err != nil:
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// openSQLite makes the file with rights for the owner alone, which SQLite's side files inherit, and opens it.
func openSQLite(path, pragmas string) (*sql.DB, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // in the data directory, which the operator names
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return sql.Open("sqlite", "file:"+path+pragmas)
}

func (d *Devices) upgrade(ctx context.Context) error {
	if err := d.container.Upgrade(ctx); err != nil {
		return err
	}
	_, err := d.db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS wabek_session (
		id         TEXT PRIMARY KEY,
		jid        TEXT NOT NULL UNIQUE,
		created_at INTEGER NOT NULL
	)`)
	if err != nil {
		return err
	}
	// A process that died right after pairing left a device without an id: it gets one now.
	devices, err := d.container.GetAllDevices(ctx)
	if err != nil {
		return err
	}
	for _, dev := range devices {
		if _, err := d.adopt(ctx, *dev.ID); err != nil {
			return err
		}
	}
	return nil
}

// adopt gives a paired device its id, unless it has one.
func (d *Devices) adopt(ctx context.Context, jid types.JID) (Stored, error) {
	_, err := d.db.ExecContext(ctx, `INSERT INTO wabek_session (id, jid, created_at) VALUES (?, ?, ?) ON CONFLICT (jid) DO NOTHING`,
		newSessionID(), jid.String(), time.Now().UnixMilli())
	if err != nil {
		return Stored{}, err
	}
	var id string
	if err := d.db.QueryRowContext(ctx, `SELECT id FROM wabek_session WHERE jid = ?`, jid.String()).Scan(&id); err != nil {
		return Stored{}, err
	}
	return newStored(id, jid)
}

func newStored(id string, jid types.JID) (Stored, error) {
	number, err := phone.Restore("+" + jid.User)
	if err != nil {
		return Stored{}, fmt.Errorf("device of session %s: %w", id, err)
	}
	return Stored{ID: id, Number: number, jid: jid}, nil
}

func newSessionID() string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
	id := make([]byte, 0, 8)
	var b [1]byte
	for len(id) < cap(id) {
		_, _ = rand.Read(b[:]) // never fails
		if int(b[0]) < 256/len(alphabet)*len(alphabet) {
			id = append(id, alphabet[int(b[0])%len(alphabet)])
		}
	}
	return string(id)
}

// Sessions lists the paired devices, the oldest first.
func (d *Devices) Sessions(ctx context.Context) ([]Stored, error) {
	rows, err := d.db.QueryContext(ctx, `SELECT id, jid FROM wabek_session ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("list paired devices: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err below says what went wrong
	var all []Stored
	for rows.Next() {
		var id, text string
		if err := rows.Scan(&id, &text); err != nil {
			return nil, fmt.Errorf("list paired devices: %w", err)
		}
		jid, err := types.ParseJID(text)
		if err != nil {
			return nil, fmt.Errorf("list paired devices: session %s: %w", id, masked(err))
		}
		stored, err := newStored(id, jid)
		if err != nil {
			return nil, fmt.Errorf("list paired devices: %w", err)
		}
		all = append(all, stored)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list paired devices: %w", err)
	}
	return all, nil
}

// Forget deletes a paired device with all its keys, for good: the session must be stopped. WhatsApp isn't told;
// the phone shows the device until its owner unlinks it. An id that isn't there is no error.
func (d *Devices) Forget(ctx context.Context, id string) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("forget device: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // does nothing after Commit
	if _, err := tx.ExecContext(ctx, `DELETE FROM whatsmeow_device WHERE jid = (SELECT jid FROM wabek_session WHERE id = ?)`, id); err != nil {
		return fmt.Errorf("forget device: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM wabek_session WHERE id = ?`, id); err != nil {
		return fmt.Errorf("forget device: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("forget device: %w", err)
	}
	return nil
}

// device reads a device. Each call makes a new object; a process may use only one per device at a time.
func (d *Devices) device(ctx context.Context, s Stored) (*store.Device, error) {
	dev, err := d.container.GetDevice(ctx, s.jid)
	if err != nil {
		return nil, fmt.Errorf("read device of session %s: %w", s.ID, masked(err))
	}
	if dev == nil {
		return nil, fmt.Errorf("%w: session %q", ErrNoDevice, s.ID)
	}
	return dev, nil
}

// Close closes the database and lets other processes have it. Sessions must be stopped before. Calling it again
// does nothing.
func (d *Devices) Close() error {
	d.close.Do(func() {
		d.closeErr = errors.Join(d.db.Close(), d.lock.Close())
		if d.closeErr != nil {
			d.closeErr = fmt.Errorf("close device database: %w", d.closeErr)
		}
	})
	return d.closeErr
}
