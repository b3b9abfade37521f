package broker

import (
	"errors"
	"math"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/livecomments/livecomments/services/shared/comment"
)

// Kind says what a message is about.
type Kind string

// Comment is the kind of a message that brings a comment. A reader passes over a kind that it does not know.
const Comment Kind = "comment"

// version is that of the form in which messages are published and stored.
const version = "1"

// Message is one message on a video as it is published and stored.
//
// Published, it is one string: the version, the kind, the id, the id of its predecessor and the data, with a space between.
// Stored, it is an entry whose fields v, k, p and d are the version, the kind, the predecessor and the data.
type Message struct {
	Kind Kind
	// ID is its place in the video's history. Previous is the ID of the message before it, zero for the first of a history.
	// A receiver that has not received Previous has missed something.
	ID, Previous comment.ID
	// Data is JSON, which nobody on the way needs to parse.
	Data string
}

var errMalformed = errors.New("malformed message")

// parseMessage reads what the publish script has published. It fails for another version, because nothing is known of that.
func parseMessage(payload string) (m Message, err error) {
	v, rest, _ := strings.Cut(payload, " ")
	kind, rest, _ := strings.Cut(rest, " ")
	id, rest, _ := strings.Cut(rest, " ")
	previous, data, found := strings.Cut(rest, " ")
	if !found || v != version || kind == "" {
		return m, errMalformed
	}
	m.Kind, m.Data = Kind(kind), data
	if m.ID, err = comment.ParseID(id); err != nil {
		return m, err
	}
	m.Previous, err = comment.ParseID(previous)
	return m, err
}

// parseEntry reads an entry of a history. One that was not stored by the publish script, or by that of another version, is a
// message without a kind: there is nothing in it to deliver, but it has its place in the history.
func parseEntry(entry redis.XMessage) Message {
	m := Message{ID: idOf(entry)}
	text := func(field string) string { value, _ := entry.Values[field].(string); return value }
	if text("v") != version {
		return m
	}
	previous, err := comment.ParseID(text("p"))
	if err != nil {
		return m
	}
	return Message{Kind: Kind(text("k")), ID: m.ID, Previous: previous, Data: text("d")}
}

// idOf reads an id that Redis wrote. The greatest is the only one that ParseID refuses.
func idOf(entry redis.XMessage) comment.ID {
	id, err := comment.ParseID(entry.ID)
	if err != nil {
		return comment.ID{Millis: math.MaxUint64, Sequence: math.MaxUint64}
	}
	return id
}
