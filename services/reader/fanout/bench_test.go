package fanout_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/livecomments/livecomments/services/reader/fanout"
)

// What the engine adds to the kernel's part of a delivery: from Publish until every stream has been written to.
func BenchmarkDelivery(b *testing.B) {
	for _, scene := range []struct{ topics, viewers int }{{1, 1}, {1, 100}, {1, 10_000}, {1_000, 10}} {
		b.Run(fmt.Sprintf("topics=%d/viewers=%d", scene.topics, scene.viewers), func(b *testing.B) {
			h := open(b, defaults)
			topics := make([]*fanout.Topic, scene.topics)
			for i := range topics {
				topics[i] = fanout.NewTopic("v", fanout.Limits{Frames: 1000, Age: time.Minute}, id(0), nil, false)
				for range scene.viewers {
					h.ServeNowhere(topics[i].Newest())
				}
			}
			frame, want := fanout.NewFrame(id(0), make([]byte, 150)), uint64(0)
			for n := uint64(1); b.Loop(); n++ {
				frame.ID = id(n)
				for _, topic := range topics {
					topic.Publish(frame)
				}
				for want += uint64(scene.topics * scene.viewers); h.Stats().Comments < want; {
					runtime.Gosched()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(want), "ns/delivery")
		})
	}
}

// What a comment costs that comes to a topic, before any writer looks at it.
func BenchmarkPublish(b *testing.B) {
	topic := fanout.NewTopic("v", fanout.Limits{Frames: 1000, Age: time.Minute}, id(0), nil, false)
	frame := fanout.NewFrame(id(0), make([]byte, 150))
	b.ReportAllocs()
	for n := uint64(1); b.Loop(); n++ {
		frame.ID = id(n)
		topic.Publish(frame)
	}
}

// What a quiet stream holds of the heap, beside the kernel's part.
func BenchmarkIdleStream(b *testing.B) {
	h := open(b, defaults)
	topic := newTopic(0)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for b.Loop() {
		h.ServeNowhere(topic.Newest())
	}
	for h.Stats().Writes < uint64(b.N) {
		runtime.Gosched()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N), "heap-B/stream")
}
