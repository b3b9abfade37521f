package fanout_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/comment"
)

func id(n uint64) comment.ID { return comment.ID{Millis: n} }

func frames(from, to uint64) []fanout.Frame {
	var all []fanout.Frame
	for n := from; n <= to; n++ {
		all = append(all, fanout.NewFrame(id(n), fmt.Appendf(nil, "%d\n", n)))
	}
	return all
}

var limits = fanout.Limits{Frames: 5, Age: time.Minute}

func newTopic(floor uint64, frames ...fanout.Frame) *fanout.Topic {
	return fanout.NewTopic("v", limits, id(floor), frames, false)
}

// resumes is what a viewer gets that has seen everything up to after, as far as the topic knows.
func resumes(t *testing.T, topic *fanout.Topic, after uint64) string {
	t.Helper()
	cursor, ok := topic.After(id(after))
	if !ok {
		return "ask the history"
	}
	if cursor.Gap {
		return "gap " + given(t, cursor)
	}
	return given(t, cursor)
}

func TestATopicKnowsFromWhereItCanResume(t *testing.T) {
	topic := newTopic(3, frames(4, 6)...)
	assert.Equal(t, "ask the history", resumes(t, topic, 2), "what followed is not here")
	assert.Equal(t, "4 5 6", resumes(t, topic, 3))
	assert.Equal(t, "5 6", resumes(t, topic, 4))
	assert.Empty(t, resumes(t, topic, 6))
	assert.Equal(t, "ask the history", resumes(t, topic, 7), "it may have followed something else")

	topic.Publish(frames(7, 10)...)
	assert.Equal(t, "ask the history", resumes(t, topic, 4), "it was let go for later ones")
	assert.Equal(t, "6 7 8 9 10", resumes(t, topic, 5))

	afresh := newTopic(0)
	afresh.Publish(frames(10, 11)...)
	assert.Equal(t, "10 11", resumes(t, afresh, 0), "everything since its beginning is here")
	assert.Equal(t, "gap 10 11", resumes(t, afresh, 5), "there was no such comment: its history is lost")
	whole := fanout.NewTopic("v", limits, id(9), frames(10, 12), true)
	assert.Equal(t, "gap 10 11 12", resumes(t, whole, 2), "the history holds nothing before these")
}

func TestAViewerWhoseHistoryWasLostGetsWhatCameSince(t *testing.T) {
	topic := newTopic(100, frames(101, 103)...)
	topic.Rewind(id(50))
	topic.Publish(frames(51, 52)...)
	assert.Equal(t, "gap 51 52", func() string { // it comes back with what it saw before the loss
		cursor := topic.Resume(topic.Epoch(), id(103), false)
		require.True(t, cursor.Gap)
		return "gap " + given(t, cursor)
	}())
	assert.Equal(t, "52", resumes(t, topic, 51))
	assert.True(t, topic.Resume(topic.Epoch()-1, id(51), true).Gap, "what the history said before the loss says nothing of what came since")
}

func TestATopicGivesTheLastFramesFirst(t *testing.T) {
	topic := newTopic(3, frames(4, 5)...)
	topic.Publish(fanout.NewGap(id(6), []byte("lost\n")))
	topic.Publish(frames(7, 8)...)
	for n, want := range []string{"", "8", "7 8", "5 lost 7 8", "4 5 lost 7 8"} {
		cursor, ok := topic.Last(n)
		require.True(t, ok)
		assert.Equal(t, want, given(t, cursor), "the last %d", n)
	}
	_, ok := topic.Last(5)
	assert.False(t, ok, "the history may hold more")
	cursor, ok := fanout.NewTopic("v", limits, id(3), frames(4, 5), true).Last(5)
	assert.True(t, ok, "the history holds no more")
	assert.Equal(t, id(3), cursor.At)
}

func TestOldFramesAreLetGo(t *testing.T) {
	topic := newTopic(0, frames(1, 2)...)
	held := func(after uint64) bool { _, ok := topic.After(id(after)); return ok }
	synctest.Test(t, func(*testing.T) {
		topic = newTopic(0, frames(1, 2)...)
		time.Sleep(40 * time.Second)
		topic.Publish(frames(3, 3)...)
		time.Sleep(40 * time.Second)
		topic.Trim()
		assert.False(t, held(1))
		assert.True(t, held(2))
		time.Sleep(40 * time.Second)
		topic.Trim()
		assert.False(t, held(2))
		assert.True(t, held(3), "nothing came since")
	})
	assert.Equal(t, "4", resumesAfterPublishing(t, topic, 3, 4))
}

func resumesAfterPublishing(t *testing.T, topic *fanout.Topic, after, next uint64) string {
	t.Helper()
	cursor, ok := topic.After(id(after))
	require.True(t, ok)
	topic.Publish(frames(next, next)...)
	return given(t, cursor)
}

func TestWhatWasMissedIsFilledInWhole(t *testing.T) {
	topic := newTopic(0, frames(1, 1)...)
	topic.Fill(frames(2, 20)...)
	topic.Publish(frames(21, 21)...)
	assert.Equal(t, "2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21", resumes(t, topic, 1))
	synctest.Test(t, func(*testing.T) {
		topic = newTopic(0)
		topic.Fill(frames(1, 20)...)
		time.Sleep(2 * time.Minute)
		topic.Publish(frames(21, 40)...)
	})
	assert.Equal(t, "36 37 38 39 40", resumes(t, topic, 35))
	assert.Equal(t, "ask the history", resumes(t, topic, 34), "once that is old, the limit holds again")
}

func TestTheHistoryIsSharedByAllWhoComeForIt(t *testing.T) {
	topic := newTopic(97, frames(98, 99)...)
	topic.Extend(topic.Epoch(), fanout.History{Floor: id(90), Frames: frames(91, 98), Newest: id(98)})
	assert.Equal(t, "91 92 93 94 95 96 97 98 99", resumes(t, topic, 90))
	assert.Equal(t, "96 97 98 99", resumes(t, topic, 95))
	topic.Extend(topic.Epoch(), fanout.History{Floor: id(96), Frames: frames(97, 99), Newest: id(99), Beginning: true})
	assert.Equal(t, "91 92 93 94 95 96 97 98 99", resumes(t, topic, 90), "less than is there already changes nothing")
	assert.Equal(t, "91 92 93 94 95 96 97 98 99 100 101", func() string {
		topic.Publish(frames(100, 101)...)
		return resumes(t, topic, 90)
	}(), "it makes room for what comes")
}

func TestAHistoryThatDoesNotReachTheTopicIsNotPutBeforeIt(t *testing.T) {
	topic := newTopic(9, frames(10, 12)...)
	topic.Extend(topic.Epoch(), fanout.History{Floor: id(1), Frames: frames(2, 7), Newest: id(7)})
	assert.Equal(t, "ask the history", resumes(t, topic, 2), "8 and 9 are lost")
	epoch := topic.Epoch()
	topic.Rewind(id(5))
	topic.Extend(epoch, fanout.History{Floor: id(1), Frames: frames(2, 12), Newest: id(12)})
	assert.Equal(t, "ask the history", resumes(t, topic, 2), "it was read before the rewind")
}

func TestAViewerResumesByWhatTheHistorySays(t *testing.T) {
	tests := map[string]struct {
		seen     uint64
		complete bool
		gap      bool
		want     string
	}{
		"all of it is here":                    {5, true, false, "6 7 8"},
		"some of it is lost":                   {5, false, true, "6 7 8"},
		"it was before what is here":           {2, false, true, "4 5 6 7 8"},
		"the history does not reach this":      {2, true, true, "4 5 6 7 8"},
		"it comes from a reader that is ahead": {9, true, false, ""},
		"its last comment never was":           {99, false, true, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			topic := newTopic(3, frames(4, 8)...)
			cursor := topic.Resume(topic.Epoch(), id(test.seen), test.complete)
			assert.Equal(t, test.gap, cursor.Gap)
			assert.Equal(t, test.want, given(t, cursor))
		})
	}
	topic := newTopic(3, frames(4, 8)...)
	cursor := topic.Resume(topic.Epoch(), id(9), true)
	topic.Publish(frames(9, 11)...)
	assert.Equal(t, "10 11", given(t, cursor), "it gets nothing twice")
}
