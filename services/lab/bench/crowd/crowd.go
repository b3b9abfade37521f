// Package crowd is a great many viewers of one reader on a single goroutine. Where package viewer behaves as a browser does,
// this one costs as little as can be, so that a benchmark on one machine measures the reader: sockets are polled with epoll,
// and of each comment only its number and the time of its posting are read.
//
// Comments to be counted are made by Text. Numbers ascend by one from 1 within each video, so that a viewer sees what it has
// missed, got twice or out of order.
package crowd

import (
	"fmt"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Text is the text of the n-th comment of a video, posted at sent, of at least length characters.
func Text(n uint64, sent time.Time, length int) string {
	text := fmt.Sprintf("%d %d ", n, sent.UnixNano())
	return text + strings.Repeat("x", max(0, length-len(text)))
}

// Viewer is what one viewer does.
type Viewer struct {
	Video string
	// Stalled viewers read the head of their stream, and then nothing more.
	Stalled bool
}

// Figures is what the viewers have seen.
type Figures struct {
	// Connected is the viewers who have a stream, but that stalled ones do not notice its end; Refused were answered 503;
	// Failed got neither.
	Connected, Refused, Failed int
	// Arrived is comments; Reads is the system calls that brought any.
	Arrived, Reads uint64
	// Missing, Duplicates and Misordered are comments found wrong; Gaps is announcements of a loss.
	Missing, Duplicates, Misordered, Gaps uint64
	// Latency is the time from the post to the arrival, in microseconds.
	Latency *hdrhistogram.Histogram
}

// Wrong is how many comments did not arrive as they should.
func (f Figures) Wrong() uint64 { return f.Missing + f.Duplicates + f.Misordered + f.Gaps }

// newHistogram holds a minute in microseconds, to three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}
