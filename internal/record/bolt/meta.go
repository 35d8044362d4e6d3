package bolt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"wabek/internal/keys"
)

// Keys of the metadata bucket.
const (
	metaFormat = "format" // formatVersion, 4 bytes
	metaKeys   = "keys"   // JSON of the wrapped data keys
	metaNamed  = "named/" // + name: what SetMeta stored
	metaDocs   = "doc/"   // + name: what SetDocument stored
)

// errNoName says that a piece of metadata must have a name.
var errNoName = errors.New("metadata needs a name")

// Meta reads a small named value that SetMeta stored, nil where there is none.
func (s *Store) Meta(name string) ([]byte, error) { return s.readMeta(metaNamed + name) }

// SetMeta stores a small named value. Nil means that it is on stable storage. Errors: those of Update.
func (s *Store) SetMeta(ctx context.Context, name string, value []byte) error {
	if name == "" {
		return errNoName
	}
	return s.writeMeta(ctx, metaNamed+name, value)
}

// Documents is apps.Documents': all documents whose names begin so, by what follows.
func (s *Store) Documents(ctx context.Context, prefix string) (map[string][]byte, error) {
	docs := map[string][]byte{}
	begins := []byte(metaDocs + prefix)
	err := s.view(ctx, func(tx *bbolt.Tx) error {
		c := tx.Bucket([]byte(bucketMeta)).Cursor()
		for k, v := c.Seek(begins); bytes.HasPrefix(k, begins); k, v = c.Next() {
			docs[string(k[len(begins):])] = append([]byte{}, v...)
		}
		return nil
	})
	return docs, err
}

// SetDocument is apps.Documents': nil takes the document away. Nil is returned once it is on stable storage. Errors:
// those of Update.
func (s *Store) SetDocument(ctx context.Context, name string, text []byte) error {
	if name == "" {
		return errNoName
	}
	if text == nil {
		o := s.op(ctx, kindUnset)
		o.name = metaDocs + name
		return s.do(o)
	}
	return s.writeMeta(ctx, metaDocs+name, text)
}

// Keys reads the wrapped data keys, none where none were saved.
func (s *Store) Keys() ([]keys.Wrapped, error) {
	data, err := s.readMeta(metaKeys)
	if err != nil || data == nil {
		return nil, err
	}
	var wrapped []keys.Wrapped
	if err := json.Unmarshal(data, &wrapped); err != nil {
		return nil, fmt.Errorf("read data keys: %w", ErrCorrupt)
	}
	return wrapped, nil
}

// SaveKeys stores the whole set of wrapped data keys in place of the one before. Nil means that it is on stable
// storage. Errors: those of Update.
func (s *Store) SaveKeys(ctx context.Context, wrapped []keys.Wrapped) error {
	data, err := json.Marshal(wrapped)
	if err != nil {
		return fmt.Errorf("save data keys: %w", err)
	}
	return s.writeMeta(ctx, metaKeys, data)
}

func (s *Store) readMeta(key string) (value []byte, err error) {
	err = s.view(context.Background(), func(tx *bbolt.Tx) error {
		if v := tx.Bucket([]byte(bucketMeta)).Get([]byte(key)); v != nil {
			value = append([]byte{}, v...)
		}
		return nil
	})
	return value, err
}

func (s *Store) writeMeta(ctx context.Context, key string, value []byte) error {
	o := s.op(ctx, kindMeta)
	o.name, o.value = key, append(o.value[:0], value...)
	return s.do(o)
}
