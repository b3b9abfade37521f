package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/livecomments/livecomments/services/shared/comment"
)

// Message is one comment as it is stored and delivered: its id and its JSON, which nobody on the way needs to parse.
type Message struct {
	ID   comment.ID
	Data string
}

// Query asks for a part of one video's history: its last comments, or all that came after a given one.
type Query struct {
	VideoID string
	// Last is how many of the newest comments to read. Where it is 0, the query is for what came after After.
	Last  int
	After comment.ID
}

// Page is the answer to a Query.
type Page struct {
	// Messages in the order of their ids.
	Messages []Message
	// Complete says that no comment between Query.After and the first message has been lost to the history's limits
	// (length, age) or with Redis' data. For the Last comments it is always true.
	Complete bool
	// Beginning says that the history holds nothing older than Messages. It is only told for the Last comments.
	Beginning bool
	// Head is the id of the newest comment that the history holds, zero where it holds none.
	Head comment.ID
	// Err says why Redis would not give this one history, while it answered other queries. It wraps [ErrUnavailable].
	Err error
}

// History answers the queries in their order, in one round trip. Its error, which wraps [ErrUnavailable], is that there
// was no answer at all.
func (b *Broker) History(ctx context.Context, queries ...Query) ([]Page, error) {
	type answer struct{ messages, oldest, newest *redis.XMessageSliceCmd }
	answers := make([]answer, len(queries))
	commands, err := b.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, query := range queries {
			key := comment.HistoryKey(query.VideoID)
			if query.Last > 0 {
				answers[i].messages = pipe.XRevRangeN(ctx, key, "+", "-", int64(query.Last))
				continue
			}
			// The oldest is read after the range: trimmed in between, it makes a complete page look incomplete, never
			// the reverse.
			answers[i].messages = pipe.XRange(ctx, key, "("+query.After.String(), "+")
			answers[i].oldest = pipe.XRangeN(ctx, key, "-", "+", 1)
			answers[i].newest = pipe.XRevRangeN(ctx, key, "+", "-", 1)
		}
		return nil
	})
	if err != nil && !answered(commands) {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	pages := make([]Page, len(queries))
	for i, query := range queries {
		err := answers[i].messages.Err()
		if query.Last == 0 {
			err = cmp.Or(err, answers[i].oldest.Err(), answers[i].newest.Err())
		}
		switch {
		case err != nil:
			pages[i].Err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		case query.Last > 0:
			pages[i] = lastPage(query.Last, answers[i].messages.Val())
		default:
			pages[i] = pageAfter(query.After, answers[i].messages.Val(), answers[i].oldest.Val(), answers[i].newest.Val())
		}
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

func lastPage(last int, newestFirst []redis.XMessage) Page {
	slices.Reverse(newestFirst)
	page := Page{Complete: true, Beginning: len(newestFirst) < last, Messages: messages(newestFirst)}
	if n := len(page.Messages); n > 0 {
		page.Head = page.Messages[n-1].ID
	}
	return page
}

func pageAfter(after comment.ID, entries, oldest, newest []redis.XMessage) Page {
	if len(oldest) == 0 || len(newest) == 0 {
		return Page{Complete: after.IsZero()}
	}
	page := Page{Messages: messages(entries), Head: idOf(newest[0])}
	if after.IsZero() {
		page.Complete = oldest[0].Values["first"] == "1"
	} else {
		page.Complete = !idOf(oldest[0]).After(after) && !after.After(page.Head)
	}
	return page
}

// messages passes over entries that no Comment API wrote.
func messages(entries []redis.XMessage) []Message {
	messages := make([]Message, 0, len(entries))
	for _, entry := range entries {
		if data, ok := entry.Values["c"].(string); ok {
			messages = append(messages, Message{idOf(entry), data})
		}
	}
	return messages
}

// idOf reads an id that Redis wrote.
func idOf(entry redis.XMessage) comment.ID {
	id, err := comment.ParseID(entry.ID)
	if err != nil {
		panic("Redis returned a stream entry with id " + strconv.Quote(entry.ID))
	}
	return id
}
