package keys

// RawKey is the key itself, which nothing but a test may see.
func RawKey(m *MAC) []byte { return m.key }
