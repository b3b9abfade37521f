package event_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tmaxmax/go-sse"

	"github.com/livecomments/livecomments/services/reader/event"
	"github.com/livecomments/livecomments/services/shared/comment"
)

func TestACommentIsOneEventWhateverItsDataHolds(t *testing.T) {
	for data, want := range map[string]string{
		`{"comment":"hi"}`:             `{"comment":"hi"}`,
		"{\n \"comment\":\"hi\"\n}":    "{\n \"comment\":\"hi\"\n}",
		"a\r\nb\rc":                    "a\nb\nc",
		"x\n\nid: 9-9\nevent: gap\n\n": "x\n\nid: 9-9\nevent: gap\n\n",
	} {
		var events []sse.Event
		stream := string(event.Comment(comment.ID{Millis: 5, Sequence: 1}, data)) + string(event.Heartbeat)
		for e, err := range sse.Read(strings.NewReader(stream), nil) {
			require.NoError(t, err)
			events = append(events, e)
		}
		assert.Equal(t, []sse.Event{{LastEventID: "5-1", Data: want}}, events)
	}
}
