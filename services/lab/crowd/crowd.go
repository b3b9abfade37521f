// Package crowd simulates thousands of viewers on a single goroutine. Package viewer behaves as a browser does; this one costs
// little, because a benchmark shares the machine with the readers that it measures. It polls the sockets with epoll, and reads
// only the number and the time of each comment.
//
// A viewer connects to any of the crowd's doors, which are addresses of readers. It follows one answer 307 a connect.
//
// Text makes the texts of these comments. Their numbers ascend by one from 1 within each video, so that a viewer sees which
// comments are missing, duplicate or out of order.
package crowd

import (
	"fmt"
	"strings"
	"time"
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
	// Returning viewers come back when their stream has ended, and when they got none. They wait as long as they were told, and
	// resume after the last event that they have seen.
	Returning bool
}

// Figures is what the viewers have seen.
type Figures struct {
	// Connected counts the viewers that have a stream; a stalled viewer does not notice when its stream ends. Refused were
	// answered 503. Failed got something else, or no answer. A returning viewer is counted each time that this happens to it.
	Connected, Refused, Failed int
	// Redirects counts the answers 307 that were followed, and Loops those to a viewer that had followed one in the same connect
	// already: it has failed. Returned counts the streams of viewers that had one before.
	Redirects, Loops, Returned int
	// Arrived counts comments, Reads the system calls that brought any, or over TLS the records.
	Arrived, Reads uint64
	// Missing, Duplicates and Misordered count comments, Gaps the announcements of a loss.
	Missing, Duplicates, Misordered, Gaps uint64
	// Unclean counts streams that ended in an event, in or without the last chunk of a chunked body, by a malformed chunk or by
	// a reset.
	Unclean uint64
	// Latency is the time from the post to the arrival. Direct is the time from the beginning of a connect to the first event,
	// and Redirected the same where a redirect came between. Away is how long those that returned had no stream.
	Latency    Times `json:",omitzero"`
	Direct     Times `json:",omitzero"`
	Redirected Times `json:",omitzero"`
	Away       Times `json:",omitzero"`
}

func newFigures() Figures {
	return Figures{Latency: newTimes(), Direct: newTimes(), Redirected: newTimes(), Away: newTimes()}
}

// counts is the figures without the times, which the crowd goes on with.
func (f Figures) counts() Figures {
	f.Latency, f.Direct, f.Redirected, f.Away = Times{}, Times{}, Times{}, Times{}
	return f
}

// afterReset is what Reset leaves of the figures.
func (f Figures) afterReset() Figures {
	left := newFigures()
	left.Connected, left.Refused, left.Failed = f.Connected, f.Refused, f.Failed
	left.Redirects, left.Loops, left.Returned = f.Redirects, f.Loops, f.Returned
	return left
}

// Wrong is how often something did not arrive as it should.
func (f Figures) Wrong() uint64 { return f.Missing + f.Duplicates + f.Misordered + f.Gaps + f.Unclean }

// Add adds what another crowd has seen.
func (f *Figures) Add(other Figures) {
	f.Connected += other.Connected
	f.Refused += other.Refused
	f.Failed += other.Failed
	f.Redirects += other.Redirects
	f.Loops += other.Loops
	f.Returned += other.Returned
	f.Arrived += other.Arrived
	f.Reads += other.Reads
	f.Missing += other.Missing
	f.Duplicates += other.Duplicates
	f.Misordered += other.Misordered
	f.Gaps += other.Gaps
	f.Unclean += other.Unclean
	f.Latency.add(other.Latency)
	f.Direct.add(other.Direct)
	f.Redirected.add(other.Redirected)
	f.Away.add(other.Away)
}
