// Package bench measures what a reader costs: the real service in a process of its own, with a real redis-server and a crowd
// of viewers. In the same run it measures the floor, a process that makes one write(2) a comment a viewer and does nothing
// else. Machines differ in speed, and one machine differs from hour to hour; the ratio of the two costs does not.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/livecomments/livecomments/services/lab/goal"
	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/redisserver"
)

// Command is `lab bench`.
type Command struct {
	Only    []string `placeholder:"SCENE" help:"Scenes to run, separated by commas: hot, tls, flood, idle, channels, check, resubscribe, stalled, storm, fleet. All by default."`
	Seconds int      `default:"30" help:"Length of each measurement under load."`
	Reader  string   `placeholder:"FILE" help:"The reader to measure. By default the one beside the lab."`
	JSON    bool     `name:"json" help:"Print JSON instead of tables."`

	// Out and Progress are where results and progress go; standard output and standard error where they are nil.
	Out      io.Writer `kong:"-"`
	Progress io.Writer `kong:"-"`
}

// Output is the result of a run, as it is printed in JSON.
type Output struct {
	Machine string   `json:"machine"`
	Scenes  []Result `json:"scenes"`
}

// Result is the result of one scene.
type Result struct {
	Scene string `json:"scene"`
	// Title says what the scene does.
	Title string `json:"title"`
	// Loads are measurements under load; Facts are other observations, in words.
	Loads []Load   `json:"loads,omitempty"`
	Facts []string `json:"facts,omitempty"`
	// Goals are what the scene requires.
	Goals []Goal `json:"goals"`
}

// Goal is what a scene requires.
type Goal = goal.Goal

type scene struct {
	name string
	run  func(context.Context, *bench) (Result, error)
}

var scenes = []scene{
	{"hot", hot},
	{"tls", secured},
	{"flood", flood},
	{"idle", idle},
	{"channels", channels},
	{"check", check},
	{"resubscribe", resubscribe},
	{"stalled", stalled},
	{"storm", storm},
	{"fleet", fleet},
}

// bench is one run.
type bench struct{ *Command }

// Run runs the scenes one after the other, each with a reader and a Redis of its own. It fails when a delivery goal is not
// met.
func (c *Command) Run(ctx context.Context) error {
	if c.Out == nil {
		c.Out = os.Stdout
	}
	if c.Progress == nil {
		c.Progress = os.Stderr
	}
	chosen, err := c.validate()
	if err != nil {
		return err
	}
	redisVersion, err := redisserver.Version(ctx)
	if err != nil {
		return err
	}
	b := &bench{c}
	output := Output{Machine: machine(redisVersion)}
	for i, scene := range chosen {
		b.say("%d of %d: %s", i+1, len(chosen), scene.name)
		result, err := scene.run(ctx, b)
		if ctx.Err() != nil {
			return errors.New("stopped before the end")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", scene.name, err)
		}
		result.Scene = scene.name
		output.Scenes = append(output.Scenes, result)
	}
	if err := c.print(output); err != nil {
		return err
	}
	return output.failure()
}

func (c *Command) validate() ([]scene, error) {
	if c.Seconds < 1 || c.Seconds > 600 {
		return nil, config.Errorf("--seconds must be from 1 to 600, not %d", c.Seconds)
	}
	var chosen []scene
	var names []string
	for _, scene := range scenes {
		names = append(names, scene.name)
		if len(c.Only) == 0 || slices.Contains(c.Only, scene.name) {
			chosen = append(chosen, scene)
		}
	}
	for _, name := range c.Only {
		if !slices.Contains(names, name) {
			return nil, config.Errorf("--only must be of %s, not %q", strings.Join(names, ", "), name)
		}
	}
	if c.Reader == "" {
		reader, err := process.Beside("reader")
		if err != nil {
			return nil, err
		}
		c.Reader = reader
	}
	if err := process.Find("--reader", c.Reader); err != nil {
		return nil, err
	}
	return chosen, nil
}

func (o Output) failure() error {
	var all []goal.Goal
	for _, result := range o.Scenes {
		for _, g := range result.Goals {
			g.Says = result.Scene + ": " + g.Says
			all = append(all, g)
		}
	}
	return goal.Failure(all)
}

func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.Progress, format+"\n", args...)
}

func (c *Command) print(output Output) error {
	if c.JSON {
		encoder := json.NewEncoder(c.Out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(output)
	}
	_, err := io.WriteString(c.Out, output.text())
	return err
}

func machine(redisVersion string) string {
	return fmt.Sprintf("%d cores, %s/%s, %s, redis-server %s; the viewers and Redis are on it too",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), redisVersion)
}
