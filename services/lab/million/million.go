// Package million has a million viewers watch at once, on one machine: the real reader in as many processes as their descriptors
// ask for, a real redis-server, and a real connection for each viewer. It does that under one routing after the other, and
// compares what the readers take in with the closed form and with the simulation.
package million

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/descriptor"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/redisserver"
)

const (
	// viewers and videos are those of the whole scene.
	viewers = 1_000_000
	videos  = 45_000
	// rounds is how many comments each video gets.
	rounds = 2
	// fewestReaders are enough to see that viewers spread.
	fewestReaders = 3
	// descriptors is the most that one process is used for, so that the scene is the same where it may have more.
	descriptors = 20_000
	// margin is for viewers that a reader takes beyond its bound, because what readers know of each other is up to a second old.
	margin = 0.05
)

// Command is `lab experiment --scene million`. The zero value of each field stands for its default.
type Command struct {
	// Scale is the part of the viewers and videos that there are: 1 by default.
	Scale float64
	// Routings are the readers' settings of ROUTING to go through: random and bounded by default.
	Routings []placement.Name
	// Readers is how many there are: by default as many as the viewers need.
	Readers int
	// LoadBound is the readers' LOAD_BOUND: 0.25 by default.
	LoadBound float64
	// Rate is how many comments are posted a second: 300 by default.
	Rate int
	// Quiet is for how long the machine is measured before the first comment: 10 seconds by default.
	Quiet time.Duration
	// Reader and Lab are the programs to run as readers and crowds: by default the one beside this program, and this one.
	Reader, Lab string
	// JSON prints JSON instead of a table.
	JSON bool
	// Out and Progress are where results and progress go: standard output and standard error by default.
	Out, Progress io.Writer

	viewers, videos, crowds int
}

// Run has the viewers watch under each routing, and prints what it has measured. It fails when a comment did not arrive as it
// should, or when not all viewers could be connected.
func (c *Command) Run(ctx context.Context) error {
	output, err := c.Measure(ctx)
	if err != nil {
		return err
	}
	if err := c.print(output); err != nil {
		return err
	}
	return output.failure()
}

// Measure is Run without the printing.
func (c *Command) Measure(ctx context.Context) (*Output, error) {
	if err := c.prepare(); err != nil {
		return nil, err
	}
	redisVersion, err := redisserver.Version(ctx)
	if err != nil {
		return nil, err
	}
	output := &Output{
		Machine: machine(redisVersion), Viewers: c.viewers, Videos: c.videos,
		Readers: c.Readers, Crowds: c.crowds, LoadBound: c.LoadBound,
	}
	for _, routing := range c.Routings {
		result, err := c.measure(ctx, routing)
		if ctx.Err() != nil {
			return nil, errors.New("stopped before the end")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", routing, err)
		}
		simulated, err := c.simulate(routing)
		if err != nil {
			return nil, err
		}
		result.expect(simulated)
		output.Routings = append(output.Routings, *result)
	}
	output.Goals = output.goals()
	return output, nil
}

// prepare completes the settings, and checks that they and the machine are good for the scene.
func (c *Command) prepare() error {
	if err := c.complete(); err != nil {
		return err
	}
	if err := c.validate(); err != nil {
		return err
	}
	if err := c.size(); err != nil {
		return err
	}
	return c.fits()
}

// complete fills in the defaults.
func (c *Command) complete() (err error) {
	c.Scale = cmp.Or(c.Scale, 1)
	c.LoadBound = cmp.Or(c.LoadBound, 0.25)
	c.Rate = cmp.Or(c.Rate, 300)
	c.Quiet = cmp.Or(c.Quiet, 10*time.Second)
	if len(c.Routings) == 0 {
		c.Routings = []placement.Name{placement.Random, placement.Bounded}
	}
	if c.Out == nil {
		c.Out = os.Stdout
	}
	if c.Progress == nil {
		c.Progress = os.Stderr
	}
	if c.Lab == "" {
		if c.Lab, err = os.Executable(); err != nil {
			return err
		}
	}
	if c.Reader == "" {
		c.Reader, err = process.Beside("reader")
	}
	return err
}

func (c *Command) validate() error {
	known := []placement.Name{placement.Random, placement.Hash, placement.Bounded}
	for _, routing := range c.Routings {
		if !slices.Contains(known, routing) {
			return config.Errorf("--routing must be of random, hash, bounded, not %q", string(routing))
		}
	}
	switch {
	case !(c.Scale >= 0.0001 && c.Scale <= 4):
		return config.Errorf("--scale must be from 0.0001 to 4, not %g", c.Scale)
	case !(c.LoadBound >= 0.01 && c.LoadBound <= 10):
		return config.Errorf("--load-bound must be from 0.01 to 10, not %g", c.LoadBound)
	case c.Rate < 1 || c.Rate > 100_000:
		return config.Errorf("--rate must be from 1 to 100000, not %d", c.Rate)
	}
	return process.Find("--reader", c.Reader)
}

// size computes how many of everything there are.
func (c *Command) size() error {
	limit := min(descriptor.Limit(), descriptors)
	perProcess := descriptor.Share(limit).Streams
	c.viewers, c.videos = int(math.Round(viewers*c.Scale)), int(math.Round(videos*c.Scale))
	c.crowds = (c.viewers + perProcess - 1) / perProcess
	least := int(math.Ceil(float64(c.viewers) * (1 + c.LoadBound) * (1 + margin) / float64(perProcess)))
	if c.Readers == 0 {
		c.Readers = max(fewestReaders, least)
	}
	if c.Readers < least {
		return config.Errorf("--readers must be at least %d, not %d: a process may have %d descriptors", least, c.Readers, limit)
	}
	return nil
}

func (c *Command) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Progress, format+"\n", args...)
}
