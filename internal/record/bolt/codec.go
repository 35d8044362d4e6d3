package bolt

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"wabek/internal/job"
	"wabek/internal/otp"
)

// A record's value, big-endian. Its key is the OTP's id. Times are Unix milliseconds.
//
//	0  version              20 pepper id (4)     88  length of the sealed body (4)
//	1  state                24 digest (32)       92  app, pool, masked, purpose, delivery, reason
//	2  attempts             56 phone hash (16)   …   sealed body
//	3  attempts allowed     72 lengths of the
//	4  expires (8)             seven texts (14),
//	12 used at (8)             reserved (2)
//
// and from version 2 on, before the texts, which are one more, metadata, before the sealed body:
//
//	92 messages sent        109 delivered at (8)
//	93 latest resend (8)    117 read at (8)
//	101 sent at (8)         125 ended at (8)
//
// It is by hand because it is on the path of every request, and because equal records must have equal bytes.
const (
	recordVersion = 2

	atState       = 1
	atAttempts    = 2
	atMaxAttempts = 3
	atExpires     = 4
	atUsedAt      = 12
	atPepper      = 20
	atDigest      = 24
	atPhone       = 56
	atLengths     = 72
	atSealedLen   = 88
	recordFixed   = 92 // of version 1

	atSends       = 92
	atLastSend    = 93
	atSentAt      = 101
	atDeliveredAt = 109
	atReadAt      = 117
	atEndedAt     = 125
	recordFixed2  = 133
)

// The texts of a record, in the order in which they are stored.
const (
	textApp = iota
	textPool
	textMasked
	textPurpose
	textDelivery
	textReason
	textMetadata
	textCount
)

// appendRecord writes a record after buf.
func appendRecord(buf []byte, r *otp.Record) ([]byte, error) {
	texts := [textCount]string{r.App, r.Pool, r.Masked, r.Purpose, string(r.Delivery), string(r.Reason), string(r.Metadata)}
	var fixed [recordFixed2]byte
	fixed[0] = recordVersion
	fixed[atState] = byte(r.State)
	fixed[atAttempts] = r.Attempts
	fixed[atMaxAttempts] = r.MaxAttempts
	putTime(fixed[atExpires:], r.Expires)
	putTime(fixed[atUsedAt:], r.UsedAt)
	binary.BigEndian.PutUint32(fixed[atPepper:], r.Digest.Pepper)
	copy(fixed[atDigest:], r.Digest.Sum[:])
	copy(fixed[atPhone:], r.Phone[:])
	fixed[atSends] = r.Sends
	putTime(fixed[atLastSend:], r.LastSend)
	putTime(fixed[atSentAt:], r.SentAt)
	putTime(fixed[atDeliveredAt:], r.DeliveredAt)
	putTime(fixed[atReadAt:], r.ReadAt)
	putTime(fixed[atEndedAt:], r.EndedAt)
	for i, text := range texts {
		if len(text) > math.MaxUint16 {
			return nil, fmt.Errorf("store record: a text of %d bytes is too long", len(text))
		}
		binary.BigEndian.PutUint16(fixed[atLengths+2*i:], uint16(len(text))) //nolint:gosec // checked above
	}
	if len(r.Sealed) > math.MaxInt32 {
		return nil, fmt.Errorf("store record: a sealed body of %d bytes is too long", len(r.Sealed))
	}
	binary.BigEndian.PutUint32(fixed[atSealedLen:], uint32(len(r.Sealed))) //nolint:gosec // checked above
	buf = append(buf, fixed[:]...)
	for _, text := range texts {
		buf = append(buf, text...)
	}
	return append(buf, r.Sealed...), nil
}

// view is a record's value, checked and taken apart; its parts alias the value.
type view struct {
	fixed  []byte
	texts  []byte // all of them
	ends   [textCount]int
	sealed []byte
}

// viewRecord checks a value. Errors wrap ErrNewerFormat and ErrCorrupt.
func viewRecord(value []byte) (v view, err error) {
	switch {
	case len(value) == 0:
		return v, fmt.Errorf("%w: empty", ErrCorrupt)
	case value[0] > recordVersion:
		return v, fmt.Errorf("%w: record version %d, known up to %d", ErrNewerFormat, value[0], recordVersion)
	case value[0] == 0 || len(value) < fixedOf(value[0]):
		return v, fmt.Errorf("%w: version %d, %d bytes", ErrCorrupt, value[0], len(value))
	}
	fixed := fixedOf(value[0])
	v.fixed = value[:fixed]
	end := 0
	for i := range v.ends {
		end += int(binary.BigEndian.Uint16(value[atLengths+2*i:]))
		v.ends[i] = end
	}
	sealed := uint64(binary.BigEndian.Uint32(value[atSealedLen:]))
	if uint64(len(value)-fixed) != uint64(end)+sealed { //nolint:gosec // neither is negative
		return v, fmt.Errorf("%w: its parts don't add up to its %d bytes", ErrCorrupt, len(value))
	}
	v.texts, v.sealed = value[fixed:fixed+end], value[fixed+end:]
	return v, nil
}

func fixedOf(version byte) int {
	if version == 1 {
		return recordFixed
	}
	return recordFixed2
}

// sends is how many messages there were, and when the latest one after the first was sent: Unix ms, 0 for none.
func (v *view) sends() (n uint8, last int64) {
	if len(v.fixed) < recordFixed2 {
		return 1, 0
	}
	return v.fixed[atSends], max(0, int64(binary.BigEndian.Uint64(v.fixed[atLastSend:]))) //nolint:gosec // as written
}

func (v *view) text(i int) []byte {
	if i == 0 {
		return v.texts[:v.ends[0]]
	}
	return v.texts[v.ends[i-1]:v.ends[i]]
}

func (v *view) expires() int64 { return int64(binary.BigEndian.Uint64(v.fixed[atExpires:])) } //nolint:gosec // as written

// decodeRecord reads what appendRecord wrote. The record shares no memory with value.
func decodeRecord(id otp.ID, value []byte, r *otp.Record) error {
	v, err := viewRecord(value)
	if err != nil {
		return err
	}
	texts := string(v.texts) // one allocation for all
	text := func(i int) string {
		if i == 0 {
			return texts[:v.ends[0]]
		}
		return texts[v.ends[i-1]:v.ends[i]]
	}
	*r = otp.Record{
		ID: id, App: text(textApp), Pool: text(textPool), Masked: text(textMasked), Purpose: text(textPurpose),
		Delivery: job.State(text(textDelivery)), Reason: job.Reason(text(textReason)),
		State: otp.State(v.fixed[atState]), Attempts: v.fixed[atAttempts], MaxAttempts: v.fixed[atMaxAttempts],
		Expires: getTime(v.fixed[atExpires:]), UsedAt: getTime(v.fixed[atUsedAt:]),
		Digest: otp.Digest{Pepper: binary.BigEndian.Uint32(v.fixed[atPepper:]), Sum: [32]byte(v.fixed[atDigest:])},
	}
	copy(r.Phone[:], v.fixed[atPhone:])
	r.Sends = 1
	if len(v.fixed) == recordFixed2 {
		r.Sends, r.LastSend = v.fixed[atSends], getTime(v.fixed[atLastSend:])
		r.SentAt, r.DeliveredAt = getTime(v.fixed[atSentAt:]), getTime(v.fixed[atDeliveredAt:])
		r.ReadAt, r.EndedAt = getTime(v.fixed[atReadAt:]), getTime(v.fixed[atEndedAt:])
	}
	if metadata := text(textMetadata); metadata != "" {
		r.Metadata = []byte(metadata)
	}
	if len(v.sealed) > 0 {
		r.Sealed = append(make([]byte, 0, len(v.sealed)), v.sealed...)
	}
	return nil
}

// An outbox row: version, expires (8), lengths of lane, pool and target (1 each), from version 2 on which of the OTP's
// messages it is, then the texts. The sealed body is read from the record: where the record has lost it, nobody needs
// the job any more.
const (
	rowVersion = 2
	rowFixed   = 13
)

func appendRow(buf []byte, e job.Envelope) ([]byte, error) {
	_, n, ok := otp.ParseJobID(e.ID)
	if !ok {
		return nil, fmt.Errorf("store job: %q is not the id of an OTP's job", e.ID)
	}
	texts := [3]string{string(e.Lane), e.Pool, e.Target}
	var fixed [rowFixed]byte
	fixed[0] = rowVersion
	putTime(fixed[1:], e.Expires)
	for i, text := range texts {
		if len(text) > math.MaxUint8 {
			return nil, fmt.Errorf("store job: a name of %d bytes is too long", len(text))
		}
		fixed[9+i] = byte(len(text)) //nolint:gosec // checked above
	}
	fixed[12] = n
	buf = append(buf, fixed[:]...)
	for _, text := range texts {
		buf = append(buf, text...)
	}
	return buf, nil
}

// rowMessage is which of the OTP's messages a row is, 1 where it can't be read.
func rowMessage(row []byte) uint8 {
	if len(row) < rowFixed || row[0] < rowVersion {
		return 1
	}
	return row[12]
}

// decodeRow reads what appendRow wrote: all of the envelope but its id and body.
func decodeRow(row []byte) (job.Envelope, error) {
	fixed := rowFixed
	if len(row) > 0 && row[0] == 1 {
		fixed--
	}
	switch {
	case len(row) == 0:
		return job.Envelope{}, fmt.Errorf("%w: empty outbox row", ErrCorrupt)
	case row[0] > rowVersion:
		return job.Envelope{}, fmt.Errorf("%w: outbox row version %d, known up to %d", ErrNewerFormat, row[0], rowVersion)
	case row[0] == 0 || len(row) < fixed:
		return job.Envelope{}, fmt.Errorf("%w: outbox row of version %d, %d bytes", ErrCorrupt, row[0], len(row))
	}
	lane, pool, target := int(row[9]), int(row[10]), int(row[11])
	texts := string(row[fixed:])
	if len(texts) != lane+pool+target {
		return job.Envelope{}, fmt.Errorf("%w: an outbox row's parts don't add up to its %d bytes", ErrCorrupt, len(row))
	}
	return job.Envelope{
		Lane: job.Lane(texts[:lane]), Pool: texts[lane : lane+pool], Target: texts[lane+pool:], Expires: getTime(row[1:]),
	}, nil
}

func putTime(buf []byte, t time.Time) {
	binary.BigEndian.PutUint64(buf, uint64(t.UnixMilli()))
}

// getTime is in UTC, so that equal records are equal on every machine; the zero time stays zero.
func getTime(buf []byte) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(buf))).UTC() //nolint:gosec // as written
}
