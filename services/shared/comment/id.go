package comment

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ID is a Redis stream id: the place of a comment in its video's history. Ids of one video ascend in the order
// of delivery. The zero ID stands before the first comment of any video.
type ID struct {
	// Millis is the Redis server's clock when the comment was stored, in milliseconds since 1970.
	Millis uint64
	// Sequence tells apart the comments of one millisecond.
	Sequence uint64
}

// ParseID reads the form that [ID.String] writes.
func ParseID(s string) (ID, error) {
	millis, sequence, found := strings.Cut(s, "-")
	if found {
		m, errM := parseDecimal(millis)
		n, errN := parseDecimal(sequence)
		// After the greatest id that Redis knows no comment can come.
		greatest := ID{math.MaxUint64, math.MaxUint64}
		if id := (ID{m, n}); errM == nil && errN == nil && id != greatest {
			return id, nil
		}
	}
	return ID{}, fmt.Errorf("%.64q is not a comment id such as 1700000000000-0", s)
}

// parseDecimal takes digits only, so that every id has one spelling and no sign passes.
func parseDecimal(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err == nil && strconv.FormatUint(n, 10) != s {
		err = strconv.ErrSyntax
	}
	return n, err
}

func (id ID) String() string {
	return strconv.FormatUint(id.Millis, 10) + "-" + strconv.FormatUint(id.Sequence, 10)
}

// Compare orders ids as Redis does: negative when id comes before other, 0 when they are equal.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Millis, other.Millis), cmp.Compare(id.Sequence, other.Sequence))
}

// After reports whether id comes later in the history than other.
func (id ID) After(other ID) bool { return id.Compare(other) > 0 }

// Previous is the greatest id before id; the zero ID is its own.
func (id ID) Previous() ID {
	switch {
	case id.Sequence > 0:
		return ID{id.Millis, id.Sequence - 1}
	case id.Millis > 0:
		return ID{id.Millis - 1, ^uint64(0)}
	}
	return id
}

// Time is the Redis server's clock when the comment was stored.
func (id ID) Time() time.Time {
	return time.UnixMilli(int64(min(id.Millis, math.MaxInt64)))
}

// IsZero reports whether id is the one before the first comment.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText makes an ID a string in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}
