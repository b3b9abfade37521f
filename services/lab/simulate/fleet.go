package simulate

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
)

// Place places the viewers of a scene on one fleet by one strategy, and returns what a simulation of it counts. The videos have
// the ids video1, video2 and so on, and the readers the names reader-1, reader-2 and so on.
func Place(scene Scene, distribution popularity.Distribution, strategy placement.Name, readers int, options placement.Options) (Result, error) {
	a, err := newAudience(scene, distribution)
	if err != nil {
		return Result{}, err
	}
	return simulate(a, strategy, readers, options)
}

// simulate places every viewer of an audience on a fleet of so many readers. Then it adds a reader, takes it out again, and
// loses another. It takes time in proportion to the viewers.
func simulate(a *audience, name placement.Name, readers int, options placement.Options) (Result, error) {
	// A source and a table of its own, so that the result does not depend on what else is simulated.
	options.Random = rand.New(rand.NewPCG(a.Seed, uint64(readers))) //nolint:gosec // from 1 to 1000
	options.Table = &placement.Table{}
	names := make([]string, readers+1)
	for i := range names {
		names[i] = fmt.Sprintf("reader-%d", i+1)
	}
	whole, err := newFleet(a, name, options, names[:readers])
	if err != nil {
		return Result{}, err
	}
	p := arrive(a, whole)
	// Streams end, and viewers connect again. So nothing remains of how the first of them were placed while there were few.
	p.moveTo(whole)
	result := measure(a, p.readers, readers)
	result.Popularity, result.Strategy, result.Readers = a.distribution, name, readers
	result.ClosedForm = closedForm(name, a.sizes, readers)

	grown, err := newFleet(a, name, options, names)
	if err != nil {
		return Result{}, err
	}
	result.MovedWhenAdded = p.moveTo(grown)
	p.moveTo(whole)

	lost := readers / 2
	shrunk, err := newFleet(a, name, options, slices.Concat(names[:lost], names[lost+1:readers]))
	if err != nil {
		return Result{}, err
	}
	result.MovedWhenLost = p.moveTo(shrunk)
	return result, nil
}

// fleet is a set of readers under one strategy.
type fleet struct {
	placement.Strategy
	names []string
	// candidates are those of each video, computed once for all its viewers.
	candidates []placement.Candidates
}

func newFleet(a *audience, name placement.Name, options placement.Options, names []string) (*fleet, error) {
	strategy, err := placement.New(name, options, names)
	if err != nil {
		return nil, err
	}
	f := &fleet{Strategy: strategy, names: names, candidates: make([]placement.Candidates, len(a.videos))}
	weights := placement.WeightsFor(strategy, a.audiences(), a.Viewers)
	for video, id := range a.videos {
		f.candidates[video] = weights.Order(strategy.Candidates(id), a.sizes[video])
	}
	return f, nil
}

// placed is an audience whose viewers are all on readers of a fleet, and the exact loads of those.
type placed struct {
	*audience
	fleet   *fleet
	readers []placement.Reader // by viewer
	viewers []int              // by reader
}

// arrive places the viewers in the order in which they come.
func arrive(a *audience, f *fleet) *placed {
	p := &placed{audience: a, fleet: f, readers: make([]placement.Reader, len(a.arrivals)), viewers: make([]int, len(f.names))}
	watching := make([]int, len(a.sizes))
	for viewer, video := range a.arrivals {
		reader := f.Pick(f.candidates[video], placement.Loads{Viewers: p.viewers, Total: viewer, Audience: watching[video]})
		p.readers[viewer] = reader
		p.viewers[reader]++
		watching[video]++
	}
	return p
}

// moveTo makes another fleet of the readers, by their names, and moves each viewer to where it belongs then. It returns the
// part of the viewers that moved; those whose reader is lost are always among them.
func (p *placed) moveTo(next *fleet) float64 {
	p.renumber(next)
	moved := 0
	for viewer, video := range p.arrivals {
		from := p.readers[viewer]
		if from != placement.Nowhere {
			if next.Sticky() {
				continue
			}
			p.viewers[from]--
		}
		to := next.Pick(next.candidates[video], placement.Loads{Viewers: p.viewers, Total: p.Viewers - 1, Audience: p.sizes[video] - 1})
		if to != placement.Nowhere {
			p.viewers[to]++
		}
		if to != from || from == placement.Nowhere {
			p.readers[viewer] = to
			moved++
		}
	}
	return float64(moved) / float64(p.Viewers)
}

// renumber gives the readers their numbers in the next fleet. Viewers of a reader that it does not have are nowhere.
func (p *placed) renumber(next *fleet) {
	numbers, viewers := make([]placement.Reader, len(p.fleet.names)), make([]int, len(next.names))
	for reader, name := range p.fleet.names {
		number := slices.Index(next.names, name)
		numbers[reader] = placement.Reader(number) // slices.Index returns -1, which is Nowhere, for none
		if number >= 0 {
			viewers[number] = p.viewers[reader]
		}
	}
	for viewer, reader := range p.readers {
		p.readers[viewer] = numbers[reader]
	}
	p.fleet, p.viewers = next, viewers
}
