// Package simulate computes what each reader of a fleet receives and writes at full scale, under each placement strategy. It
// places every single viewer by package placement, and counts exactly.
package simulate

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/livecomments/livecomments/services/lab/simulate/report"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
)

// Command is `lab simulate`.
type Command struct {
	Scene             string                    `default:"full" help:"full: 90,000 videos, 2,000,000 viewers, fleets of 3 to 200 readers; small: 100 videos, 2,500 viewers, 5 readers. The other flags override its parts."`
	Videos            *int                      `help:"Number of live videos."`
	Viewers           *int                      `help:"Number of viewers of all videos, at least as many as videos."`
	Popularity        []popularity.Distribution `help:"How viewers spread over videos: uniform, three-tier, zipf, celebrity, or several of them, separated by commas."`
	CommentsPerMinute float64                   `default:"1" help:"Comments that each viewer posts per minute."`
	Readers           []int                     `help:"Numbers of readers, separated by commas."`
	Strategies        []placement.Name          `help:"Placement strategies, separated by commas: random, registry, hash, ring, bounded. All by default."`
	Registry          string                    `default:"round-robin" help:"How registry assigns a new video: round-robin, or to the least-loaded reader."`
	VirtualNodes      int                       `default:"160" help:"Points of each reader on the ring of ring and bounded."`
	Epsilon           float64                   `default:"0.25" help:"How far above the mean bounded lets a reader go: 0.25 allows 1.25 × the mean."`
	Seed              uint64                    `default:"1" help:"Seed of all random choices. The same seed gives the same output, byte for byte."`
	JSON              bool                      `name:"json" xor:"format" help:"Print JSON instead of tables."`
	CSV               bool                      `name:"csv" xor:"format" help:"Print comma-separated values instead of tables."`
	Report            string                    `placeholder:"FILE" help:"Also write a self-contained HTML page with charts."`

	// Out receives the results and Progress the progress. Where they are nil it is standard output and standard error.
	Out      io.Writer `kong:"-"`
	Progress io.Writer `kong:"-"`
}

// preset is a named scene.
type preset struct {
	videos, viewers int
	popularities    []popularity.Distribution
	readers         []int
}

var presets = map[string]preset{
	"full":  {90_000, 2_000_000, []popularity.Distribution{popularity.Uniform, popularity.ThreeTier, popularity.Zipf}, []int{3, 5, 8, 10, 14, 20, 30, 50, 75, 100, 150, 200}},
	"small": {100, 2500, []popularity.Distribution{popularity.ThreeTier}, []int{5}},
}

// Bounds by what fits into a laptop's memory.
const (
	maxViewers = 50_000_000
	maxReaders = 1000
)

// Output is the output of a simulation in JSON.
type Output struct {
	Command    string   `json:"command"`
	SceneName  string   `json:"sceneName"`
	Scene      Scene    `json:"scene"`
	Epsilon    float64  `json:"epsilon"`
	RedisLimit float64  `json:"redisLimit"`
	Results    []Result `json:"results"`
}

// complete fills in from the scene what no flag sets.
func (c *Command) complete() error {
	scene, known := presets[c.Scene]
	if !known {
		return config.Errorf("--scene must be full or small, not %q", c.Scene)
	}
	if c.Videos == nil {
		c.Videos = &scene.videos
	}
	if c.Viewers == nil {
		c.Viewers = &scene.viewers
	}
	if len(c.Popularity) == 0 {
		c.Popularity = scene.popularities
	}
	if len(c.Readers) == 0 {
		c.Readers = scene.readers
	}
	if len(c.Strategies) == 0 {
		c.Strategies = placement.Names()
	}
	return nil
}

func (c *Command) validate() error {
	if err := c.complete(); err != nil {
		return err
	}
	for _, readers := range c.Readers {
		if readers < 1 || readers > maxReaders {
			return config.Errorf("--readers must be from 1 to %d, not %d", maxReaders, readers)
		}
	}
	for _, strategy := range c.Strategies {
		if !slices.Contains(placement.Names(), strategy) {
			return config.Errorf("--strategies must be of %s, not %q", join(placement.Names()), string(strategy))
		}
	}
	for _, distribution := range c.Popularity {
		if !slices.Contains(popularity.Distributions, distribution) {
			return config.Errorf("--popularity must be of %s, not %q", join(popularity.Distributions), string(distribution))
		}
	}
	switch {
	case *c.Viewers < 1 || *c.Viewers > maxViewers:
		return config.Errorf("--viewers must be from 1 to %d, not %d", maxViewers, *c.Viewers)
	case *c.Videos < 1 || *c.Videos > *c.Viewers:
		return config.Errorf("--videos must be from 1 to the number of viewers, %d, not %d", *c.Viewers, *c.Videos)
	case !(c.CommentsPerMinute >= 0 && c.CommentsPerMinute <= 1e6):
		return config.Errorf("--comments-per-minute must be from 0 to a million, not %g", c.CommentsPerMinute)
	case c.Registry != "round-robin" && c.Registry != "least-loaded":
		return config.Errorf("--registry must be round-robin or least-loaded, not %q", c.Registry)
	}
	if err := (&placement.Options{VirtualNodes: c.VirtualNodes, Epsilon: c.Epsilon}).Validate(); err != nil {
		return config.Errorf("--virtual-nodes=%d --epsilon=%g: %s", c.VirtualNodes, c.Epsilon, err)
	}
	return nil
}

func join[S ~string](names []S) string {
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = string(name)
	}
	return strings.Join(words, ", ")
}

// Run simulates every combination of popularity, fleet and strategy, and writes the results. It fails when a flag is bad, when
// ctx ends, or when the results cannot be written.
func (c *Command) Run(ctx context.Context) error {
	if err := c.validate(); err != nil {
		return err
	}
	if c.Out == nil {
		c.Out = os.Stdout
	}
	if c.Progress == nil {
		c.Progress = os.Stderr
	}
	page, err := c.openReport()
	if err != nil {
		return err
	}
	output := Output{
		Command: c.line(), SceneName: c.Scene, Epsilon: c.Epsilon, RedisLimit: RedisLimit,
		Scene: Scene{Videos: *c.Videos, Viewers: *c.Viewers, CommentsPerMinute: c.CommentsPerMinute, Seed: c.Seed},
	}
	if output.Results, err = c.results(ctx, output.Scene); err != nil {
		return err
	}
	if err := c.print(&output); err != nil {
		return err
	}
	if page == nil {
		return nil
	}
	if err := report.Write(page, output); err != nil {
		return err
	}
	return page.Close()
}

// openReport opens the page's file before the simulation, so that a bad path costs no results.
func (c *Command) openReport() (*os.File, error) {
	if c.Report == "" {
		return nil, nil //nolint:nilnil // no page is asked for
	}
	page, err := os.Create(c.Report)
	if err != nil {
		return nil, config.Errorf("--report: %s", err)
	}
	return page, nil
}

// results simulates as many combinations at a time as there are processors, and returns their results in order.
func (c *Command) results(ctx context.Context, scene Scene) ([]Result, error) {
	each := len(c.Readers) * len(c.Strategies)
	results := make([]Result, len(c.Popularity)*each)
	shown := newProgress(c.Progress, len(results))
	defer shown.stop()
	options := placement.Options{LeastLoaded: c.Registry == "least-loaded", VirtualNodes: c.VirtualNodes, Epsilon: c.Epsilon}
	for i, distribution := range c.Popularity {
		audience, err := newAudience(scene, distribution)
		if err != nil {
			return nil, config.Errorf("%s", err)
		}
		working, ctx := errgroup.WithContext(ctx)
		working.SetLimit(runtime.GOMAXPROCS(0))
		for j, readers := range c.Readers {
			for k, strategy := range c.Strategies {
				working.Go(func() (err error) {
					if ctx.Err() != nil {
						return ctx.Err()
					}
					results[i*each+j*len(c.Strategies)+k], err = simulate(audience, strategy, readers, options)
					shown.step()
					return err
				})
			}
		}
		if err := working.Wait(); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// line returns the command that reproduces these results.
func (c *Command) line() string {
	words := []string{"lab", "simulate"}
	scene := presets[c.Scene]
	add := func(differs bool, format string, args ...any) {
		if differs {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(c.Scene != "full", "--scene=%s", c.Scene)
	add(*c.Videos != scene.videos, "--videos=%d", *c.Videos)
	add(*c.Viewers != scene.viewers, "--viewers=%d", *c.Viewers)
	add(!slices.Equal(c.Popularity, scene.popularities), "--popularity=%s", strings.ReplaceAll(join(c.Popularity), " ", ""))
	add(c.CommentsPerMinute != 1, "--comments-per-minute=%g", c.CommentsPerMinute)
	add(!slices.Equal(c.Readers, scene.readers), "--readers=%s", strings.Trim(strings.ReplaceAll(fmt.Sprint(c.Readers), " ", ","), "[]"))
	add(!slices.Equal(c.Strategies, placement.Names()), "--strategies=%s", strings.ReplaceAll(join(c.Strategies), " ", ""))
	add(c.Registry != "round-robin", "--registry=%s", c.Registry)
	add(c.VirtualNodes != 160, "--virtual-nodes=%d", c.VirtualNodes)
	add(c.Epsilon != 0.25, "--epsilon=%g", c.Epsilon)
	add(c.Seed != 1, "--seed=%d", c.Seed)
	return strings.Join(words, " ")
}
