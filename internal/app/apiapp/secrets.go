package apiapp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"wabek/internal/apps"
	"wabek/internal/keys"
)

// loadSecret reads the secret of a standalone wabek from <data>/secret, and makes it on the first start. The
// file is written whole and synced before it counts: a start that dies halfway leaves none, or a good one.
func loadSecret(dataDir string) (keys.Secret, error) {
	secret, err := readSecret(dataDir)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	raw := make([]byte, 48)
	_, _ = rand.Read(raw) // never fails
	made := base64.StdEncoding.EncodeToString(raw)
	if err := writePrivate(filepath.Join(dataDir, "secret"), made+"\n"); err != nil {
		return keys.Secret{}, fmt.Errorf("write secret: %w", err)
	}
	return keys.NewSecret(made)
}

func readSecret(dataDir string) (keys.Secret, error) {
	path := filepath.Join(dataDir, "secret")
	text, err := os.ReadFile(path) //nolint:gosec // the operator's own data directory
	if err != nil {
		return keys.Secret{}, fmt.Errorf("read secret: %w", err)
	}
	secret, err := keys.NewSecret(string(text))
	if err != nil {
		return keys.Secret{}, fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

// writePrivate writes a file that only its owner may read, durably and whole.
func writePrivate(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// metaAPIKey names the digest of the API key among the store's metadata. A random key needs no salt and no slow
// hash: there is nothing to guess.
const metaAPIKey = "api-key-sha256" //nolint:gosec // a name, not a key

// metadata is the part of the record store that keeps the API key's digest.
type metadata interface {
	Meta(name string) ([]byte, error)
	SetMeta(ctx context.Context, name string, value []byte) error
}

// apiKeyDigest gives the digest of the key that requests must show: of the fixed one, or of the one made at the
// first start, which is returned only then, to be shown once.
func apiKeyDigest(store metadata, fixed string) (digest apps.Digest, made string, err error) {
	if fixed != "" {
		return apps.DigestOf(fixed), "", nil
	}
	have, err := store.Meta(metaAPIKey)
	if err != nil {
		return digest, "", fmt.Errorf("read API key digest: %w", err)
	}
	if len(have) == sha256.Size {
		return apps.Digest(have), "", nil
	}
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails
	made = "wabek_" + base64.RawURLEncoding.EncodeToString(raw)
	return apps.DigestOf(made), made, nil
}

// keepAPIKey makes the key of the first start the key of later ones. It is called after the key has been shown:
// a start that dies in between makes another one.
func keepAPIKey(ctx context.Context, store metadata, digest apps.Digest) error {
	if err := store.SetMeta(ctx, metaAPIKey, digest[:]); err != nil {
		return fmt.Errorf("keep API key digest: %w", err)
	}
	return nil
}
