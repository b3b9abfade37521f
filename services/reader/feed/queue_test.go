package feed

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/livecomments/livecomments/services/reader/fanout"
)

func TestVideosAreCaughtUpWithInTheOrderOfThoseWhoWait(t *testing.T) {
	known := &fanout.Topic{}
	var q queue
	for _, one := range []struct {
		video   string
		viewers int64
		ring    ring
	}{
		{"nobody watches it any more", 0, known},
		{"a few watch", 3, known},
		{"many watch", 5000, known},
		{"its first viewer waits", 1, nil},
		{"a few watch too", 3, known},
		{"its first viewers wait", 2, nil},
	} {
		t := newTopic(one.video, 10, nil)
		t.viewers.Store(one.viewers)
		t.ring = one.ring
		q.add(t)
	}
	var order []string
	for next, ok := q.next(); ok; next, ok = q.next() {
		order = append(order, next.topic.video)
	}
	assert.Equal(t, []string{
		"its first viewers wait", "its first viewer waits", "many watch", "a few watch", "a few watch too", "nobody watches it any more",
	}, order)
}
