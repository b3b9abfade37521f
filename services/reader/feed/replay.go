package feed

import (
	"context"
	"slices"

	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// replay loads older comments into the topic, shared by everyone who resumes: the viewers of a reader that died come for the
// same, and all at once. One of them reads the history, from where the one furthest behind needs it; the others wait, and
// then mostly find their places in what the topic holds.
func (f *Feed) replay(ctx context.Context, t *topic, position Position) (fanout.Cursor, error) {
	t.want(position)
	select {
	case t.replay <- struct{}{}:
		defer func() { <-t.replay }()
	case <-ctx.Done():
		return fanout.Cursor{}, ctx.Err()
	}
	if cursor, ok := lookUp(t, position); ok {
		return cursor, nil
	}
	query := t.replayQuery(position)
	epoch := t.output.Epoch()
	pages, err := f.broker.History(ctx, query)
	if err == nil {
		err = pages[0].Err
	}
	if err != nil {
		f.log.Warn("history could not be read", zap.String("video", t.video), zap.Error(err))
		return fanout.Cursor{}, err
	}
	page := pages[0]
	t.output.Extend(epoch, older(query, page))
	if position.After == nil {
		cursor, _ := t.output.Last(position.Last)
		return cursor, nil
	}
	return t.output.Resume(epoch, *position.After, covers(page, query, *position.After)), nil
}

// older is a page as history for the fanout.Topic.
func older(query broker.Query, page broker.Page) fanout.History {
	history := fanout.History{Floor: floor(page), Frames: encode(page.Messages), Newest: page.Head, Beginning: page.Beginning}
	if query.Last == 0 && page.Complete {
		history.Floor = query.After
	}
	return history
}

// covers reports whether everything after id is in the page.
func covers(page broker.Page, query broker.Query, id comment.ID) bool {
	if query.After == id {
		return page.Complete
	}
	return floor(page) == id || slices.ContainsFunc(page.Messages, func(m broker.Message) bool { return m.ID == id })
}

// want notes where a viewer waits to resume from.
func (t *topic) want(position Position) {
	if position.After == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.wanted == nil || t.wanted.After(*position.After) {
		t.wanted = position.After
	}
}

// replayQuery asks for what a viewer needs, and those who wait with it.
func (t *topic) replayQuery(position Position) broker.Query {
	if position.After == nil {
		return broker.Query{VideoID: t.video, Last: position.Last}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	after := *position.After
	if t.wanted != nil && after.After(*t.wanted) {
		after = *t.wanted
	}
	t.wanted = nil
	return broker.Query{VideoID: t.video, After: after}
}
