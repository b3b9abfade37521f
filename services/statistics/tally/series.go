package tally

import "time"

// counters are what a part reports that only ever grows, while it runs.
type counters struct {
	published, received, sent uint64
	cpu                       uint64 // in microseconds
}

func (c counters) plus(other counters) counters {
	return counters{c.published + other.published, c.received + other.received, c.sent + other.sent, c.cpu + other.cpu}
}

// since is how far counters have come; one that is lower than before began again at 0.
func (c counters) since(last counters) counters {
	return counters{
		increase(last.published, c.published), increase(last.received, c.received), increase(last.sent, c.sent), increase(last.cpu, c.cpu),
	}
}

func increase(last, now uint64) uint64 {
	if now < last {
		return now
	}
	return now - last
}

// series is what one part has counted over time, restarts of the part included.
type series struct {
	last    counters // as reported
	sum     counters
	samples []sample // of sum, those within the window and the one before it
}

type sample struct {
	at  time.Time
	sum counters
}

// add takes what was reported and returns how far it has come since the last report.
func (s *series) add(now counters, at time.Time, window time.Duration) (grown counters) {
	grown = now.since(s.last)
	s.sum, s.last = s.sum.plus(grown), now
	s.samples = append(s.samples, sample{at, s.sum})
	for len(s.samples) > 2 && s.samples[1].at.Before(at.Add(-window)) {
		s.samples = s.samples[1:]
	}
	return grown
}

// rates are how fast counters grow, per second; cpu is in seconds of processor time.
type rates struct{ published, received, sent, cpu float64 }

// rates are per second, over the part's own reports within the window. What it had counted before its first report is
// in none of them.
func (s *series) rates() (r rates) {
	if len(s.samples) < 2 {
		return r
	}
	first, last := s.samples[0], s.samples[len(s.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds <= 0 {
		return r
	}
	grown := last.sum.since(first.sum)
	return rates{
		float64(grown.published) / seconds, float64(grown.received) / seconds, float64(grown.sent) / seconds,
		float64(grown.cpu) / 1e6 / seconds,
	}
}
