package keys

// RawKey is the key itself, which nothing but a test may see.
func RawKey(m *MAC) []byte { return m.key }

// Wrap is a data key as the record store would keep it.
func Wrap(s Secret, use string, id uint32, raw []byte) Wrapped {
	return Wrapped{Use: use, ID: id, Sealed: wrappingKey(s).seal(wrapBind(use, id), raw)}
}

// Unwrap opens one.
func Unwrap(w Wrapped, s Secret) ([]byte, error) {
	raw, _, err := unwrap(w, []*sealKey{wrappingKey(s)})
	return raw, err
}
