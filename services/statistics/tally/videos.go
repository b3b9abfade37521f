package tally

import (
	"time"

	"github.com/livecomments/livecomments/services/shared/reports"
)

// videos are what one instance of the Comment API has counted for single videos: now, and at two moments before. Of the times
// in between nothing is kept.
type videos struct{ before, since, now videoCounts }

type videoCounts struct {
	at     time.Time
	counts map[string]uint64
}

// add takes what was reported. The moment that rates begin at is then between half a window and a whole one ago, once the
// instance has reported for so long.
func (v *videos) add(counts map[string]uint64, at time.Time, window time.Duration) {
	v.now = videoCounts{at, counts}
	if at.Sub(v.since.at) >= window/2 {
		v.before, v.since = v.since, v.now
	}
}

// rates adds the comments a second of each video to sums. A video whose comments were not counted in the report that rates begin
// at has none: it may not have been among the largest.
func (v *videos) rates(sums map[string]float64) {
	from := v.before
	if from.counts == nil {
		from = v.since
	}
	seconds := v.now.at.Sub(from.at).Seconds()
	if seconds <= 0 {
		return
	}
	complete := len(from.counts) < reports.ListCap
	for video, count := range v.now.counts {
		if last, counted := from.counts[video]; counted || complete {
			sums[video] += float64(increase(last, count)) / seconds
		}
	}
}

// Audience is how many viewers a video has, by the readers' reports. Where a reader has more videos than it reports, exact is
// false, and there may be more viewers.
func (t *Tally) Audience(video string) (viewers uint64, exact bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
	exact = t.readers.count > 0
	for part := range t.readers.all() {
		here, listed := part.report.Audiences[video]
		viewers += here
		exact = exact && (listed || part.report.AudiencesComplete())
	}
	return viewers, exact
}

// Flow is the rates and the latencies of the Totals, at less cost than all of them.
func (t *Tally) Flow() (Rates, reports.Latency) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
	_, viewers := t.viewers()
	return t.rates(), viewers.LatencyMillis
}
