// Package comment is the product's noun: what a viewer posts, and the rules it must obey.
package comment

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// MaxLength is the longest text of a comment, in characters (Unicode code points).
	MaxLength = 2000
	// MaxIDLength is the longest video or user id, in characters.
	MaxIDLength = 128
)

// ErrMissing says that one of the three required fields is absent or blank.
var ErrMissing = errors.New("userid, videoid, and comment are required")

// ErrInvisible says that the text has characters, but none that shows anything.
var ErrInvisible = errors.New("comment must have at least one character that can be seen")

// Comment is one viewer's remark on one video. Its JSON is what travels through Redis and to the viewers.
type Comment struct {
	UserID  string `json:"userid"`
	VideoID string `json:"videoid"`
	Text    string `json:"comment"`
	// Timestamp is when the Comment API accepted the comment, in UTC.
	Timestamp time.Time `json:"timestamp"`
	// ID is the comment's place in its video's history. It is zero, and absent from the JSON, until Redis has
	// assigned it; towards viewers it travels as the event's id, not in the data.
	ID ID `json:"id,omitzero"`
}

// Validate reports the first rule that the comment breaks, in one sentence for whoever sent it.
func (c Comment) Validate() error {
	if c.UserID == "" || c.VideoID == "" || strings.TrimSpace(c.Text) == "" {
		return ErrMissing
	}
	if err := ValidateID("userid", c.UserID); err != nil {
		return err
	}
	if err := ValidateID("videoid", c.VideoID); err != nil {
		return err
	}
	if !visible(c.Text) {
		return ErrInvisible
	}
	if n := utf8.RuneCountInString(c.Text); n > MaxLength {
		return fmt.Errorf("comment must be at most %d characters, not %d", MaxLength, n)
	}
	return nil
}

// ValidateID checks a video or user id; name is the field the error speaks of.
func ValidateID(name, id string) error {
	if len(id) < 1 || len(id) > MaxIDLength || strings.ContainsFunc(id, illegal) {
		return fmt.Errorf("%s must be 1 to %d characters of A-Z a-z 0-9 . _ : -", name, MaxIDLength)
	}
	return nil
}

func illegal(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("._:-", r)
}
