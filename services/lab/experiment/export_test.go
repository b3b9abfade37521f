package experiment

import (
	"context"

	"github.com/livecomments/livecomments/services/shared/placement"
)

// KillAReader measures what happens when one of so many readers is killed.
func (c *Command) KillAReader(ctx context.Context, routing placement.Name, readers int) (Change, error) {
	e := &experiment{Command: c}
	return e.measureChange(ctx, change{
		name: "a reader is killed", routing: routing, from: readers, to: readers - 1, doors: readers,
		do: func(s *system, _ context.Context) error { s.end(1, (*reader).Kill); return nil },
	})
}

// HasHAProxy reports whether there is a proxy to measure.
func HasHAProxy() bool {
	_, found := findHAProxy()
	return found
}
