package fanout_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/comment"
)

func frames(from, to uint64) []fanout.Frame {
	var all []fanout.Frame
	for n := from; n <= to; n++ {
		all = append(all, fanout.Frame{ID: comment.ID{Millis: n}, Bytes: fmt.Append(nil, n)})
	}
	return all
}

var limits = fanout.Limits{Frames: 5, Age: time.Minute}

func TestViewersGetEveryFrameOnceAndInOrder(t *testing.T) {
	topic := fanout.NewTopic(limits, comment.ID{}, nil)
	first := topic.Subscribe()
	topic.Publish(frames(1, 2)...)
	second := topic.Subscribe()
	topic.Publish(frames(2, 3)...) // 2 comes again, as it may after an interruption
	<-first.Wake()
	<-second.Wake()

	got, gap := first.Next(nil)
	assert.False(t, gap)
	assert.Equal(t, frames(1, 3), got)
	got, gap = second.Next(nil)
	assert.False(t, gap)
	assert.Equal(t, frames(3, 3), got)
	got, gap = first.Next(nil)
	assert.False(t, gap)
	assert.Empty(t, got)
}

func TestAViewerBehindByMoreThanTheLimitIsMovedToTheNewestWithAGap(t *testing.T) {
	topic := fanout.NewTopic(limits, comment.ID{}, nil)
	slow := topic.Subscribe()
	topic.Publish(frames(1, 5)...)
	topic.Publish(frames(6, 6)...)
	got, gap := slow.Next(nil)
	assert.True(t, gap)
	assert.Empty(t, got)
	assert.Equal(t, comment.ID{Millis: 6}, slow.Cursor())
	topic.Publish(frames(7, 7)...)
	got, gap = slow.Next(nil)
	assert.False(t, gap)
	assert.Equal(t, frames(7, 7), got)
}

func TestATopicKnowsFromWhereItCanResume(t *testing.T) {
	topic := fanout.NewTopic(limits, comment.ID{Millis: 3}, frames(4, 6))
	for after, want := range map[uint64][]fanout.Frame{3: frames(4, 6), 4: frames(5, 6), 6: nil} {
		viewer := topic.SubscribeAfter(comment.ID{Millis: after})
		require.NotNil(t, viewer, "after %d", after)
		got, gap := viewer.Next(nil)
		assert.False(t, gap)
		assert.Equal(t, want, got)
	}
	assert.Nil(t, topic.SubscribeAfter(comment.ID{Millis: 2}), "what followed is not here")
	assert.Nil(t, topic.SubscribeAfter(comment.ID{Millis: 7}), "it may have followed something else")
	topic.Publish(frames(7, 10)...)
	assert.Nil(t, topic.SubscribeAfter(comment.ID{Millis: 4}))
	assert.NotNil(t, topic.SubscribeAfter(comment.ID{Millis: 5}))

	afresh := fanout.NewTopic(limits, comment.ID{}, nil)
	afresh.Publish(frames(10, 11)...)
	assert.NotNil(t, afresh.SubscribeAfter(comment.ID{}), "everything since its beginning is here")
	assert.Nil(t, afresh.SubscribeAfter(comment.ID{Millis: 5}), "that was before its beginning")
}

func TestOldFramesAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := fanout.NewTopic(limits, comment.ID{}, frames(1, 2))
		time.Sleep(40 * time.Second)
		topic.Publish(frames(3, 3)...)
		time.Sleep(40 * time.Second)
		topic.Trim()
		assert.Nil(t, topic.SubscribeAfter(comment.ID{Millis: 1}))
		viewer := topic.SubscribeAfter(comment.ID{Millis: 2})
		require.NotNil(t, viewer)
		got, _ := viewer.Next(nil)
		assert.Equal(t, frames(3, 3), got)
		time.Sleep(40 * time.Second)
		topic.Trim()
		got, gap := viewer.Next(nil)
		assert.False(t, gap, "it had everything")
		assert.Empty(t, got)
		assert.NotNil(t, topic.SubscribeAfter(comment.ID{Millis: 3}), "nothing came since")
	})
}

func TestAfterARewindSmallerIDsAreNew(t *testing.T) {
	topic := fanout.NewTopic(limits, comment.ID{}, frames(10, 12))
	viewer := topic.Subscribe()
	topic.Rewind(comment.ID{Millis: 5})
	<-viewer.Wake()
	topic.Publish(frames(6, 6)...)
	got, gap := viewer.Next(nil)
	assert.True(t, gap)
	assert.Equal(t, frames(6, 6), got)
}

func TestAViewerThatSawMoreElsewhereGetsNothingTwice(t *testing.T) {
	topic := fanout.NewTopic(limits, comment.ID{}, frames(1, 1))
	viewer := topic.Subscribe()
	viewer.MoveTo(comment.ID{Millis: 3})
	topic.Publish(frames(2, 4)...)
	got, gap := viewer.Next(nil)
	assert.False(t, gap)
	assert.Equal(t, frames(4, 4), got)
}

func TestWhatWasMissedIsFilledInWhole(t *testing.T) {
	topic := fanout.NewTopic(limits, comment.ID{}, frames(1, 1))
	viewer := topic.Subscribe()
	topic.Fill(frames(2, 20)...)
	topic.Publish(frames(21, 21)...) // for which the oldest makes room
	got, gap := topic.SubscribeAfter(comment.ID{Millis: 2}).Next(nil)
	assert.False(t, gap)
	assert.Equal(t, frames(3, 21), got)
	_, gap = viewer.Next(nil)
	assert.False(t, gap)

	synctest.Test(t, func(t *testing.T) {
		topic := fanout.NewTopic(limits, comment.ID{}, nil)
		topic.Fill(frames(1, 20)...)
		time.Sleep(2 * time.Minute)
		topic.Publish(frames(21, 40)...)
		assert.Nil(t, topic.SubscribeAfter(comment.ID{Millis: 30}), "once that is old, the limit holds again")
	})
}

func TestAClosedViewerIsNotWoken(t *testing.T) {
	topic := fanout.NewTopic(limits, comment.ID{}, nil)
	viewer := topic.Subscribe()
	viewer.Close()
	topic.Publish(frames(1, 1)...)
	select {
	case <-viewer.Wake():
		t.Error("woken")
	default:
	}
}

func TestManyViewersComeAndGoWhileFramesAreInFlight(t *testing.T) {
	const last = 2000
	topic := fanout.NewTopic(fanout.Limits{Frames: last, Age: time.Minute}, comment.ID{}, nil)
	var tasks sync.WaitGroup
	for range 8 {
		tasks.Go(func() {
			viewer := topic.Subscribe()
			defer viewer.Close()
			want := viewer.Cursor().Millis + 1
			for want <= last {
				<-viewer.Wake()
				got, gap := viewer.Next(nil)
				assert.False(t, gap)
				for _, frame := range got {
					assert.Equal(t, want, frame.ID.Millis)
					want++
				}
			}
		})
	}
	tasks.Go(func() {
		for n := uint64(1); n <= last; n++ {
			topic.Publish(frames(n, n)...)
			topic.Subscribe().Close()
		}
		// For viewers that came after the last.
		topic.Publish(frames(last+1, last+1)...)
	})
	tasks.Wait()
}

func BenchmarkPublish(b *testing.B) {
	for _, viewers := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(viewers, "-viewers"), func(b *testing.B) {
			topic := fanout.NewTopic(fanout.Limits{Frames: 1000, Age: time.Minute}, comment.ID{}, nil)
			all := make([]*fanout.Viewer, viewers)
			for i := range all {
				all[i] = topic.Subscribe()
			}
			var next []fanout.Frame
			for n := uint64(1); b.Loop(); n++ {
				topic.Publish(fanout.Frame{ID: comment.ID{Millis: n}})
				for _, viewer := range all {
					next, _ = viewer.Next(next[:0])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*viewers), "ns/delivery")
		})
	}
}
