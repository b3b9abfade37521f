package feed

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/livecomments/livecomments/services/reader/fanout"
)

func TestVideosAreCaughtUpWithInTheOrderOfThoseWhoWait(t *testing.T) {
	known := &fanout.Topic{}
	var q queue
	for _, t := range []*topic{
		{video: "nobody watches it any more", fanout: known},
		{video: "a few watch", viewers: 3, fanout: known},
		{video: "many watch", viewers: 5000, fanout: known},
		{video: "its first viewer waits", viewers: 1},
		{video: "a few watch too", viewers: 3, fanout: known},
		{video: "its first viewers wait", viewers: 2},
	} {
		q.add(t, 1)
	}
	var order []string
	for next, ok := q.next(); ok; next, ok = q.next() {
		order = append(order, next.topic.video)
	}
	assert.Equal(t, []string{
		"its first viewers wait", "its first viewer waits", "many watch", "a few watch", "a few watch too", "nobody watches it any more",
	}, order)
}
