package callback

import "time"

// RetryAfter reads the header.
func RetryAfter(text string, now time.Time) time.Duration { return retryAfter(text, now) }

// Recode reads a callback as the queue keeps it and writes it again.
func Recode(data []byte) ([]byte, bool) {
	s, err := decodeStored(data)
	if err != nil {
		return nil, false
	}
	again, err := s.encode()
	return again, err == nil
}
