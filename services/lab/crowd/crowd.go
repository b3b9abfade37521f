// Package crowd simulates thousands of viewers of one reader on a single goroutine. Package viewer behaves as a browser does;
// this one costs little, because a benchmark shares the machine with the reader that it measures. It polls the sockets with
// epoll, and reads only the number and the time of each comment.
//
// Text makes the texts of these comments. Their numbers ascend by one from 1 within each video, so that a viewer sees which
// comments are missing, duplicate or out of order.
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

// Viewer says what one viewer does.
type Viewer struct {
	Video string
	// Stalled viewers read the answer's head and the first event, and nothing after.
	Stalled bool
}

// Figures is what the viewers have seen.
type Figures struct {
	// Connected counts the viewers that have a stream; a stalled viewer does not notice when its stream ends. Refused were
	// answered 503. Failed got something else, or no answer.
	Connected, Refused, Failed int
	// Arrived counts comments, Reads the system calls that brought any.
	Arrived, Reads uint64
	// Missing, Duplicates and Misordered count comments, Gaps the announcements of a loss.
	Missing, Duplicates, Misordered, Gaps uint64
	// Unclean counts streams that ended in an event, in or without the last chunk of a chunked body, by a malformed chunk or by
	// a reset.
	Unclean uint64
	// Latency is the time from the post to the arrival, in microseconds.
	Latency *hdrhistogram.Histogram
}

// Wrong is how often something did not arrive as it should.
func (f Figures) Wrong() uint64 { return f.Missing + f.Duplicates + f.Misordered + f.Gaps + f.Unclean }

// newHistogram holds a minute in microseconds, to three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}
