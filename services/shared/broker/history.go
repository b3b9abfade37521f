package broker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livecomments/livecomments/services/shared/comment"
)

// Query asks for a part of one video's history: its last messages, or all that came after a given one.
type Query struct {
	VideoID string
	// Last is how many of the newest messages to read. Where it is 0, the query is for what came after After.
	Last  int
	After comment.ID
}

// Page is the answer to a Query.
type Page struct {
	// Messages are in the order of their ids.
	Messages []Message
	// Complete says that Messages are all that came after Query.After: the first of them names it as its predecessor, or it is
	// itself the newest. It is false where the history has been trimmed or lost, and where it never held Query.After. For the
	// Last messages it is true.
	Complete bool
	// Expired says that the history which held Query.After has come to the end of its time to live since. If nothing was
	// published after Query.After, nothing is lost.
	Expired bool
	// Beginning says that the history holds nothing older than Messages.
	Beginning bool
	// First is the id of the message with which the history began, zero where that has been trimmed or there is none.
	First comment.ID
	// Head is the id of the newest message that the history holds: the last of Messages, where there are any. It is zero where
	// the history holds none.
	Head comment.ID
	// Err says why Redis would not give this one history, while it answered other queries. It wraps [ErrUnavailable].
	Err error
}

// History answers the queries in their order, in one round trip. Its error, which wraps [ErrUnavailable], is that there
// was no answer at all.
func (b *Broker) History(ctx context.Context, queries ...Query) ([]Page, error) {
	type answer struct{ messages, oldest, newest *redis.XMessageSliceCmd }
	answers := make([]answer, len(queries))
	var clock *redis.TimeCmd
	commands, err := b.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, query := range queries {
			key := b.names.history(query.VideoID)
			// Others publish and trim in between. The newest is read before the range, so that no message is between it and an
			// empty range; the oldest after, so that a whole history can look trimmed, and never the reverse.
			answers[i].newest = pipe.XRevRangeN(ctx, key, "+", "-", 1)
			if query.Last > 0 {
				answers[i].messages = pipe.XRevRangeN(ctx, key, "+", "-", int64(query.Last))
			} else {
				answers[i].messages = pipe.XRange(ctx, key, "("+query.After.String(), "+")
			}
			answers[i].oldest = pipe.XRangeN(ctx, key, "-", "+", 1)
		}
		clock = pipe.Time(ctx)
		return nil
	})
	if err != nil && !answered(commands) {
		return nil, b.unavailable(readingHistory, err)
	}
	pages := make([]Page, len(queries))
	for i, query := range queries {
		read := answers[i]
		if err := cmp.Or(read.messages.Err(), read.oldest.Err(), read.newest.Err(), clock.Err()); err != nil {
			pages[i].Err = b.unavailable(readingHistory, err)
			continue
		}
		b.rights.granted(readingHistory)
		pages[i] = b.page(query, read.messages.Val(), read.oldest.Val(), read.newest.Val(), clock.Val())
	}
	return pages, nil
}

// answered reports whether Redis itself has answered every command, be it with an error.
func answered(commands []redis.Cmder) bool {
	for _, command := range commands {
		var reply redis.Error
		if err := command.Err(); err != nil && !errors.As(err, &reply) {
			return false
		}
	}
	return true
}

func (b *Broker) page(query Query, entries, oldest, newest []redis.XMessage, now time.Time) Page {
	if query.Last > 0 {
		slices.Reverse(entries)
	}
	page := Page{Messages: make([]Message, len(entries)), Beginning: len(oldest) == 0}
	for i, entry := range entries {
		page.Messages[i] = parseEntry(entry)
	}
	switch {
	case len(entries) > 0:
		page.Head = idOf(entries[len(entries)-1])
	case len(newest) > 0:
		page.Head = idOf(newest[0])
	}
	if len(oldest) > 0 {
		if first := parseEntry(oldest[0]); first.Kind != "" && first.Previous.IsZero() {
			page.First = first.ID
		}
		page.Beginning = len(entries) > 0 && entries[0].ID == oldest[0].ID
	}
	if query.Last > 0 {
		page.Complete = true
		return page
	}
	// The history of a video without comments begins with the first that comes: nothing is lost before that.
	begins := now
	switch {
	case len(page.Messages) == 0:
		page.Complete = page.Head == query.After
	case page.Messages[0].Kind != "":
		page.Complete = page.Messages[0].Previous == query.After
		begins = page.Messages[0].ID.Time()
	default:
		// An entry of somebody else names no predecessor. Older entries are left, so nothing before it was trimmed.
		page.Complete = !page.Beginning
	}
	anew := len(oldest) == 0 || page.Beginning && !page.First.IsZero()
	page.Expired = !page.Complete && anew && begins.Sub(query.After.Time()) >= b.cfg.HistoryTTL
	return page
}

// Heads reads the ID of each video's newest message, in one round trip: zero where its history holds none. Its error wraps
// [ErrUnavailable].
func (b *Broker) Heads(ctx context.Context, videoIDs ...string) ([]comment.ID, error) {
	keys := make([]string, len(videoIDs))
	for i, video := range videoIDs {
		keys[i] = b.names.head(video)
	}
	answers, err := b.redis.MGet(ctx, keys...).Result()
	if err := b.outcome(readingHistory, err); err != nil {
		return nil, err
	}
	heads := make([]comment.ID, len(answers))
	for i, answer := range answers {
		text, _ := answer.(string)
		// What is no id is not ours. Its video is looked at more closely, as that of an id that differs.
		heads[i], _ = comment.ParseID(text)
	}
	return heads, nil
}
