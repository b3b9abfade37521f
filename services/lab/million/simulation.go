package million

import (
	"github.com/livecomments/livecomments/services/lab/simulate"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
)

// virtualNodes is the readers' own number.
const virtualNodes = 160

// simulate has the simulation place the same viewers. Its videos and readers have the same names.
func (c *Command) simulate(routing placement.Name) (simulate.Result, error) {
	scene := simulate.Scene{Videos: c.videos, Viewers: c.viewers, CommentsPerMinute: 1, Seed: 1}
	options := placement.Options{VirtualNodes: virtualNodes, Epsilon: c.LoadBound}
	return simulate.Place(scene, popularity.Uniform, routing, c.Readers, options)
}
