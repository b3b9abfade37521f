package ledger

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/livecomments/livecomments/services/shared/reports"
)

// Times are distributions of how long viewers wait.
type Times struct {
	// Latency is from a comment's post to its arrival, FirstEvent from a request for a stream to the stream's first event, and
	// Outage from the end of a stream to the first event of the next.
	Latency, FirstEvent, Outage reports.Latency
}

// times counts what Times sums up. It is safe for concurrent use.
type times []*distribution

// The kinds of times.
const (
	latency = iota
	firstEvent
	outage
	kinds
)

func newTimes() times {
	t := make(times, kinds)
	for kind := range t {
		t[kind] = &distribution{micros: hdrhistogram.New(1, longest.Microseconds(), 3)}
	}
	return t
}

// record counts a time. An empty times counts nothing.
func (t times) record(kind int, length time.Duration) {
	if len(t) > 0 {
		t[kind].record(length)
	}
}

func (t times) summary() Times {
	if len(t) == 0 {
		return Times{}
	}
	return Times{t[latency].summary(), t[firstEvent].summary(), t[outage].summary()}
}

// distribution is one of durations. It is safe for concurrent use.
type distribution struct {
	mu     sync.Mutex
	micros *hdrhistogram.Histogram
}

// longest is the upper end of a distribution; what takes longer counts as this long.
const longest = 10 * time.Minute

func (d *distribution) record(length time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// The value is within the histogram's range, so there is no error to handle.
	_ = d.micros.RecordValue(max(1, min(length, longest).Microseconds()))
}

func (d *distribution) summary() reports.Latency {
	d.mu.Lock()
	defer d.mu.Unlock()
	millis := func(micros int64) float64 { return float64(micros) / 1000 }
	return reports.Latency{
		P50: millis(d.micros.ValueAtQuantile(50)), P99: millis(d.micros.ValueAtQuantile(99)),
		Max: millis(d.micros.Max()), Count: d.micros.TotalCount(),
	}
}
