package tally

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// remembered is how many processes that report no longer are remembered, for each that may report.
const remembered = 10

// FullError says that a report was refused because as many instances of its kind report as may.
type FullError struct {
	Kind string
	Most int
}

func (e *FullError) Error() string {
	return fmt.Sprintf("%d %s instances report already, as many as MAX_INSTANCES admits; this one is refused", e.Most, e.Kind)
}

// process is one run of an instance. Of senders that give no process number all runs have 0.
type process struct {
	id     string
	number uint64
}

// part is a process that reports.
type part[R any] struct {
	process
	report  R
	at      time.Time // of the report
	counted series
	videos  videos // of a Comment API
}

// parts are the processes of one kind that report.
//
// An id is meant for one instance at a time, and an instance that restarts is another process. So a process that is seen
// for the first time takes its id over from those that had it:
//
//	never seen ──report──► reports ──another takes the id over, or silence──► remembered
//	                          ▲───────────────────report──────────────────────────┘
//
// A process that reports again after another has taken its id over is alive beside it: two instances have one id, and
// both count. What is remembered of a process is how far its counters had come, so that nothing counts twice when it comes
// back. Both sets are bounded; the ones that were silent longest are forgotten first.
type parts[R any] struct {
	kind       string
	most       int
	window     time.Duration
	reporting  map[string][]*part[R] // by id
	count      int                   // of those reporting
	remembered *simplelru.LRU[process, counters]
	duplicates map[string]time.Time // when an id was last seen to be that of several instances
}

func newParts[R any](kind string, cfg Config) *parts[R] {
	processes, err := simplelru.NewLRU[process, counters](remembered*cfg.MaxInstances, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &parts[R]{
		kind: kind, most: cfg.MaxInstances, window: cfg.Window,
		reporting: map[string][]*part[R]{}, remembered: processes, duplicates: map[string]time.Time{},
	}
}

// take replaces the report of a process, and returns how far its counters have come since the one before. It returns a
// *FullError where there is no room for another process. duplicate is whether this report is the first to show that
// several instances have the id.
func (p *parts[R]) take(from process, report R, now counters, at time.Time) (grown counters, duplicate bool, err error) {
	one := p.find(from)
	if one == nil {
		last, known := p.remembered.Peek(from)
		// A process that takes an id over has the room of the one before it.
		if takesOver := !known && len(p.reporting[from.id]) > 0; !takesOver && p.count >= p.most {
			return counters{}, false, &FullError{p.kind, p.most}
		}
		one = &part[R]{process: from, counted: series{last: last}}
		if !known {
			one.counted.samples, one.counted.sum = p.retire(from.id)
		}
		p.remembered.Remove(from)
		p.reporting[from.id] = append(p.reporting[from.id], one)
		p.count++
	}
	one.report, one.at = report, at
	grown = one.counted.add(now, at, p.window)
	if len(p.reporting[from.id]) > 1 {
		duplicate = p.duplicates[from.id].IsZero()
		p.duplicates[from.id] = at
	}
	return grown, duplicate, nil
}

func (p *parts[R]) find(from process) *part[R] {
	for _, one := range p.reporting[from.id] {
		if one.number == from.number {
			return one
		}
	}
	return nil
}

// retire ends the reporting of all processes that have the id, for one that takes it over. It returns the samples of the
// latest of them, which the new one goes on with: rates outlive a restart.
func (p *parts[R]) retire(id string) ([]sample, counters) {
	var latest part[R]
	for _, one := range p.reporting[id] {
		p.remember(one)
		if one.at.After(latest.at) {
			latest = *one
		}
	}
	delete(p.reporting, id)
	return latest.counted.samples, latest.counted.sum
}

// remember keeps of a process that no longer reports how far it had counted.
func (p *parts[R]) remember(one *part[R]) {
	p.remembered.Add(one.process, one.counted.last)
	p.count--
}

// forget drops what was not reported since limit.
func (p *parts[R]) forget(limit time.Time) {
	for id, processes := range p.reporting {
		left := slices.DeleteFunc(processes, func(one *part[R]) bool {
			silent := one.at.Before(limit)
			if silent {
				p.remember(one)
			}
			return silent
		})
		p.reporting[id] = left
		if len(left) == 0 {
			delete(p.reporting, id)
		}
	}
	// Not when one is left: a third process may just have taken the id over, and the others are about to report again.
	maps.DeleteFunc(p.duplicates, func(_ string, seen time.Time) bool { return seen.Before(limit) })
}

// all are those that report, in no order.
func (p *parts[R]) all() iter.Seq[*part[R]] {
	return func(yield func(*part[R]) bool) {
		for _, processes := range p.reporting {
			for _, one := range processes {
				if !yield(one) {
					return
				}
			}
		}
	}
}

// label is what tells a process from the others of its kind: its id, with its number where several have the id. Ids have
// no '#' in them.
func (p *parts[R]) label(of process) string {
	if len(p.reporting[of.id]) < 2 {
		return of.id
	}
	return fmt.Sprintf("%s#%d", of.id, of.number)
}
