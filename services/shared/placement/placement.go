// Package placement decides which reader a viewer of a video goes to.
//
// The obvious design sends viewers anywhere, and every reader ends up with a part of nearly every video. The other strategies
// keep the viewers of a video together, and differ in what that costs when a video is large or the fleet changes:
//
//	strategy   copies of a comment      hottest reader      a reader comes or goes           state
//	random     up to one a reader       even                only the viewers of a lost one   none
//	registry   1                        a celebrity sinks   only the videos of a lost one    video → reader
//	hash       1                        a celebrity sinks   1/R of the videos                none
//	ring       1                        a celebrity sinks   about 1/R of the videos          none
//	bounded    1, more for celebrities  (1+ε) × the mean    about 1/R, and what the bound    viewers on each reader
//	                                                        pushes over
//
// R is the number of readers. A Strategy serves the simulation and live code alike.
package placement

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Video is a video's id, hashed once for all that strategies ask of it. Two of a million ids are the same Video with a
// probability of about 3 in 100 million; they would be placed together, and nothing else would happen.
type Video uint64

// VideoOf hashes a video's id.
func VideoOf(id string) Video { return Video(xxhash.Sum64String(id)) }

// Reader is a handle that a Strategy gives to a reader when it is added; the first is 0, and none is given out twice.
type Reader int

// Nowhere is the Reader of a viewer that has none, because the fleet is empty.
const Nowhere Reader = -1

// Strategy places viewers. Its methods are for one goroutine at a time.
type Strategy interface {
	// Add brings a reader into the fleet. Its name is what hashing strategies go by: the same names give the same places in
	// every process, in whatever order they come. It moves nobody: Move does, viewer by viewer.
	Add(name string) Reader
	// Remove takes a reader out of the fleet. Its viewers are placed again by Move.
	Remove(reader Reader)
	// Place gives one more viewer of a video a reader.
	Place(video Video) Reader
	// Move gives a viewer that was placed before, the reader where it belongs after readers came or went; it returns from where
	// the viewer stays.
	Move(video Video, from Reader) Reader
	// Release notes that a viewer has left.
	Release(video Video, from Reader)
}

// Name of a strategy.
type Name string

// The strategies.
const (
	Random   Name = "random"
	Registry Name = "registry"
	Hash     Name = "hash"
	Ring     Name = "ring"
	Bounded  Name = "bounded"
)

// Names lists the strategies in the order in which they are compared.
var Names = []Name{Random, Registry, Hash, Ring, Bounded}

// Options tune the strategies. Defaults gives those that are meant where nothing is said.
type Options struct {
	// Random is where random takes its choices from.
	Random *rand.Rand
	// LeastLoaded makes registry give a new video to the reader with the fewest viewers, instead of to each in turn.
	LeastLoaded bool
	// VirtualNodes is how many points each reader has on the ring of ring and bounded, at least 1. With v points the readers' parts of
	// the ring differ by about 1/√v.
	VirtualNodes int
	// Epsilon is how far over the mean bounded lets a reader go, more than 0: 0.25 allows 1.25 × the mean. With less it spreads
	// more, and more moves.
	Epsilon float64
}

// Defaults are 160 virtual nodes, ε = 0.25, registry by turns, and choices that differ in every process.
func Defaults() Options {
	return Options{Random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), VirtualNodes: 160, Epsilon: 0.25}
}

// Validate says which option is out of bounds.
func (o *Options) Validate() error {
	if o.VirtualNodes < 1 || o.VirtualNodes > 10_000 {
		return fmt.Errorf("virtual nodes must be from 1 to 10000, not %d", o.VirtualNodes)
	}
	if !(o.Epsilon > 0) || math.IsInf(o.Epsilon, 0) {
		return fmt.Errorf("epsilon must be more than 0, not %g", o.Epsilon)
	}
	return nil
}

// New makes a strategy with an empty fleet. It fails for an unknown name and for options out of bounds.
func New(name Name, options Options) (Strategy, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	switch name {
	case Random:
		return &random{source: options.Random}, nil
	case Registry:
		return &registry{videos: map[Video]*entry{}, leastLoaded: options.LeastLoaded}, nil
	case Hash:
		return &rendezvous{places: map[Video]Reader{}}, nil
	case Ring:
		return &ring{circle{virtualNodes: options.VirtualNodes}}, nil
	case Bounded:
		return &bounded{circle: circle{virtualNodes: options.VirtualNodes}, epsilon: options.Epsilon, audience: map[Video]int{}}, nil
	}
	return nil, fmt.Errorf("strategy must be one of %v, not %q", Names, name)
}

// fleet is the readers of a strategy by their handles.
type fleet struct {
	present []bool   // by Reader
	members []Reader // ascending
}

func (f *fleet) add() Reader {
	reader := Reader(len(f.present))
	f.present, f.members = append(f.present, true), append(f.members, reader)
	return reader
}

func (f *fleet) remove(reader Reader) {
	if f.has(reader) {
		f.present[reader] = false
		f.members = slices.DeleteFunc(f.members, func(member Reader) bool { return member == reader })
	}
}

func (f *fleet) has(reader Reader) bool {
	return reader >= 0 && int(reader) < len(f.present) && f.present[reader]
}
