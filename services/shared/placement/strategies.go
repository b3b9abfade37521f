package placement

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Name is the name of a strategy.
type Name string

// strategies is the table of all strategies, in the order in which they are compared. A new one is a line here, and a file of
// its own beside this.
var strategies = []struct {
	name Name
	new  func(readers []string, options Options) Strategy
}{
	{Random, newRandom},
	{Registry, newRegistry},
	{Hash, newHash},
	{Ring, newRing},
	{Bounded, newBounded},
}

// Names returns the names of all strategies in the order in which they are compared.
func Names() []Name {
	names := make([]Name, len(strategies))
	for i, strategy := range strategies {
		names[i] = strategy.name
	}
	return names
}

// Options tune the strategies.
type Options struct {
	// Random is the source that random draws from. With nil it draws from the one of the process, which may be used
	// concurrently.
	Random *rand.Rand
	// Table is where registry keeps what it has assigned; the other strategies have no use for it. All fleets of one
	// simulation or process share one Table.
	Table *Table
	// LeastLoaded makes registry assign a new video to the reader with the fewest viewers, instead of to each in turn.
	LeastLoaded bool
	// VirtualNodes is the number of points that each reader has on the ring of ring and bounded, from 1 to 10,000. With v points
	// the readers' parts of the ring differ by about 1/√v.
	VirtualNodes int
	// Epsilon is how far above the mean bounded lets a reader go, more than 0: 0.25 allows 1.25 × the mean. A smaller one
	// spreads more videos and moves more viewers.
	Epsilon float64
}

// Validate returns an error that says which option is out of bounds.
func (o *Options) Validate() error {
	if o.VirtualNodes < 1 || o.VirtualNodes > 10_000 {
		return fmt.Errorf("virtual nodes must be from 1 to 10000, not %d", o.VirtualNodes)
	}
	if !(o.Epsilon > 0) || math.IsInf(o.Epsilon, 0) {
		return fmt.Errorf("epsilon must be more than 0, not %g", o.Epsilon)
	}
	return nil
}

// New returns a strategy for a fleet, which is given by the names of its readers. It fails for an unknown strategy, for
// options out of bounds, for registry without a Table, and for two readers of one name.
func New(name Name, options Options, readers []string) (Strategy, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if name == Registry && options.Table == nil {
		return nil, fmt.Errorf("%s needs a table", Registry)
	}
	listed := make(map[string]bool, len(readers))
	for _, reader := range readers {
		if listed[reader] {
			return nil, fmt.Errorf("reader %q is listed twice", reader)
		}
		listed[reader] = true
	}
	for _, strategy := range strategies {
		if strategy.name == name {
			return strategy.new(readers, options), nil
		}
	}
	return nil, fmt.Errorf("strategy must be one of %v, not %q", Names(), name)
}
