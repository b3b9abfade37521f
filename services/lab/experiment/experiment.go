// Package experiment places viewers in the running system: real services as processes, a real Redis, and viewers with real
// sockets who check every comment. It measures what the simulation counts, and prints the figures of the simulation and of the
// closed form beside its own.
package experiment

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/livecomments/livecomments/services/lab/experiment/report"
	"github.com/livecomments/livecomments/services/lab/goal"
	"github.com/livecomments/livecomments/services/lab/million"
	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
	"github.com/livecomments/livecomments/services/shared/redisserver"
)

// Command is `lab experiment`.
type Command struct {
	Scene             string                    `default:"default" help:"default: routings and fleets beside each other, and what happens when readers come, go and die. million: 1,000,000 viewers of 45,000 videos at once, at random and bounded; of the other flags only --scale, --json and --bin are for it."`
	Scale             float64                   `default:"1" help:"Part of the million that there is, with --scene=million: 0.05 takes two minutes."`
	Only              []string                  `placeholder:"PART" help:"Parts to run, separated by commas: matrix (every fleet under every routing), proxy (the same behind HAProxy), changes (readers come, go and die), redirect (what being sent on costs). All by default."`
	Routings          []placement.Name          `default:"random,hash,bounded" help:"Values of the readers' ROUTING, separated by commas: random, hash, bounded."`
	Readers           []int                     `default:"3,5,8" help:"Numbers of readers, separated by commas."`
	Videos            int                       `default:"100" help:"Live videos."`
	Viewers           int                       `default:"1000" help:"Viewers of all videos, at least as many as videos."`
	Popularity        []popularity.Distribution `default:"uniform,celebrity" help:"How viewers spread over videos: uniform, three-tier, zipf, celebrity, or several of them, separated by commas."`
	CommentsPerMinute float64                   `default:"6" help:"Comments that each viewer posts a minute, on average."`
	Seconds           int                       `default:"3" help:"Length of each measurement under load."`
	JSON              bool                      `name:"json" help:"Print JSON instead of tables."`
	Report            string                    `placeholder:"FILE" help:"Also write a self-contained HTML page with charts."`
	Bin               string                    `placeholder:"FOLDER" help:"Where the binaries of reader, comment and client are. By default where the lab is."`

	// Out and Progress are where results and progress go; standard output and standard error where they are nil.
	Out      io.Writer `kong:"-"`
	Progress io.Writer `kong:"-"`
}

// Output is the result of a run, as it is printed in JSON.
type Output struct {
	Command           string       `json:"command"`
	Machine           string       `json:"machine"`
	Videos            int          `json:"videos"`
	Viewers           int          `json:"viewers"`
	CommentsPerMinute float64      `json:"commentsPerMinute"`
	Seconds           int          `json:"seconds"`
	Fleets            []Fleet      `json:"fleets"`
	Changes           []Change     `json:"changes"`
	Connecting        []Connecting `json:"connecting"`
	// Notes say what was left out.
	Notes []string    `json:"notes"`
	Goals []goal.Goal `json:"goals"`
}

// The parts of the experiment.
const (
	matrixPart   = "matrix"
	proxyPart    = "proxy"
	changesPart  = "changes"
	redirectPart = "redirect"
)

var parts = []string{matrixPart, proxyPart, changesPart, redirectPart}

// wants reports whether a part is to be run.
func (c *Command) wants(part string) bool { return len(c.Only) == 0 || slices.Contains(c.Only, part) }

// middle is the middle one of the fleets' sizes, where there is need of one.
func (c *Command) middle() int { return c.Readers[len(c.Readers)/2] }

// routings are those that a reader knows.
var routings = []placement.Name{placement.Random, placement.Hash, placement.Bounded}

// experiment is one run.
type experiment struct {
	*Command
	output Output
	mu     sync.Mutex // of Progress
}

// scenes are what --scene chooses from.
var scenes = map[string]func(*Command, context.Context) error{
	"default": (*Command).place,
	"million": (*Command).million,
}

// million has a million viewers, or a part of them.
func (c *Command) million(ctx context.Context) error {
	if c.Scale <= 0 {
		return config.Errorf("--scale must be more than 0, not %g", c.Scale)
	}
	scene := million.Command{Scale: c.Scale, JSON: c.JSON, Out: c.Out, Progress: c.Progress}
	if c.Bin != "" {
		scene.Reader = filepath.Join(c.Bin, "reader")
	}
	return scene.Run(ctx)
}

// Run runs a scene.
func (c *Command) Run(ctx context.Context) error {
	if c.Out == nil {
		c.Out = os.Stdout
	}
	if c.Progress == nil {
		c.Progress = os.Stderr
	}
	run, known := scenes[c.Scene]
	if !known {
		return config.Errorf("--scene must be %s, not %q", strings.Join(slices.Sorted(maps.Keys(scenes)), " or "), c.Scene)
	}
	return run(c, ctx)
}

// place runs the parts one after the other, each system of processes with a Redis of its own. It fails when a viewer missed a
// comment, or got one twice or out of order.
func (c *Command) place(ctx context.Context) error {
	if err := c.validate(); err != nil {
		return err
	}
	redisVersion, err := redisserver.Version(ctx)
	if err != nil {
		return err
	}
	page, err := c.openReport()
	if err != nil {
		return err
	}
	e := &experiment{Command: c, output: Output{
		Command: c.line(), Machine: machine(redisVersion),
		Videos: c.Videos, Viewers: c.Viewers, CommentsPerMinute: c.CommentsPerMinute, Seconds: c.Seconds,
	}}
	for _, part := range []func(*experiment, context.Context) error{
		(*experiment).measureFleets, (*experiment).measureChanges, (*experiment).measureRedirects,
	} {
		err := part(e, ctx)
		if ctx.Err() != nil {
			return errors.New("stopped before the end")
		}
		if err != nil {
			return err
		}
	}
	e.output.Goals = e.output.goals()
	if err := c.print(&e.output); err != nil {
		return err
	}
	if page != nil {
		if err := errors.Join(report.Write(page, e.output), page.Close()); err != nil {
			return err
		}
	}
	return e.output.failure()
}

// fewest is the fewest viewers of an experiment: fewer than these report one by one, and not as one client.
const fewest = 21

func (c *Command) validate() error {
	if err := cmp.Or(
		known("--only", c.Only, parts), known("--routings", c.Routings, routings), known("--popularity", c.Popularity, popularity.Distributions),
	); err != nil {
		return err
	}
	for _, readers := range c.Readers {
		if readers < 1 || readers > 50 {
			return config.Errorf("--readers must be from 1 to 50, not %d", readers)
		}
	}
	switch {
	case len(c.Readers) == 0 || len(c.Routings) == 0 || len(c.Popularity) == 0:
		return config.Errorf("--readers, --routings and --popularity must each have a value")
	case c.Viewers < fewest || c.Viewers > 10_000:
		return config.Errorf("--viewers must be from %d to 10000, not %d", fewest, c.Viewers)
	case c.Videos < 1 || c.Videos > c.Viewers:
		return config.Errorf("--videos must be from 1 to the number of viewers, %d, not %d", c.Viewers, c.Videos)
	case !(c.CommentsPerMinute > 0 && c.CommentsPerMinute <= 600):
		return config.Errorf("--comments-per-minute must be more than 0 and at most 600, not %g", c.CommentsPerMinute)
	case c.Seconds < 1 || c.Seconds > 600:
		return config.Errorf("--seconds must be from 1 to 600, not %d", c.Seconds)
	}
	for _, service := range []string{"reader", "comment", "client"} {
		if err := process.Find("--bin", c.binary(service)); err != nil {
			return err
		}
	}
	return nil
}

// known checks that a flag names nothing that there is not.
func known[S ~string](flag string, named, all []S) error {
	for _, name := range named {
		if !slices.Contains(all, name) {
			return config.Errorf("%s must be of %s, not %q", flag, join(all), string(name))
		}
	}
	return nil
}

// openReport opens the page's file before the experiment, so that a bad path costs no results.
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

// failure says which goals of delivery were not met; it is nil where all were.
func (o *Output) failure() error { return goal.Failure(o.Goals) }

// say writes a line of progress. It may be called by several at once.
func (e *experiment) say(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, _ = fmt.Fprintf(e.Progress, format+"\n", args...)
}

func (e *experiment) note(format string, args ...any) {
	e.output.Notes = append(e.output.Notes, fmt.Sprintf(format, args...))
}

func (c *Command) print(output *Output) error {
	if c.JSON {
		encoder := json.NewEncoder(c.Out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(output)
	}
	_, err := io.WriteString(c.Out, output.text())
	return err
}

// line is the command that repeats the run.
func (c *Command) line() string {
	words := []string{"lab", "experiment"}
	add := func(differs bool, format string, args ...any) {
		if differs {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(len(c.Only) > 0, "--only=%s", strings.Join(c.Only, ","))
	add(!slices.Equal(c.Routings, routings), "--routings=%s", strings.ReplaceAll(join(c.Routings), " ", ""))
	add(!slices.Equal(c.Readers, []int{3, 5, 8}), "--readers=%s", strings.Trim(strings.ReplaceAll(fmt.Sprint(c.Readers), " ", ","), "[]"))
	add(c.Videos != 100, "--videos=%d", c.Videos)
	add(c.Viewers != 1000, "--viewers=%d", c.Viewers)
	add(!slices.Equal(c.Popularity, []popularity.Distribution{popularity.Uniform, popularity.Celebrity}),
		"--popularity=%s", strings.ReplaceAll(join(c.Popularity), " ", ""))
	add(c.CommentsPerMinute != 6, "--comments-per-minute=%g", c.CommentsPerMinute)
	add(c.Seconds != 3, "--seconds=%d", c.Seconds)
	return strings.Join(words, " ")
}

func join[S ~string](names []S) string {
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = string(name)
	}
	return strings.Join(words, ", ")
}

func machine(redisVersion string) string {
	return fmt.Sprintf("%d cores, %s/%s, %s, redis-server %s; everything is on it",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), redisVersion)
}
