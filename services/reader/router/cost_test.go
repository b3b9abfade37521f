package router

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkLook is what a reader with 20,000 videos of 200 readers does every second.
func BenchmarkLook(b *testing.B) {
	for _, routing := range []string{"hash", "bounded"} {
		b.Run(routing, func(b *testing.B) {
			w := newWorld(nil, routing, 1, 1)
			for i := range 20_000 {
				w.readers[0].viewers[fmt.Sprint("video", i)] = 1 + i%3
			}
			for b.Loop() {
				w.readers[0].mover.look(time.Now())
			}
		})
	}
}

// BenchmarkPlace is what a connect costs before the viewer is sent on or taken.
func BenchmarkPlace(b *testing.B) {
	w := newWorld(nil, "bounded", 200, 1)
	i := 0
	for b.Loop() {
		i++
		w.readers[0].router.Place(b.Context(), Viewer{User: fmt.Sprint("user", i), Video: fmt.Sprint("video", i)})
	}
}
