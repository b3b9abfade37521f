// The lab runs the whole system on one machine.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/livecomments/livecomments/services/lab/bench"
	"github.com/livecomments/livecomments/services/lab/experiment"
	"github.com/livecomments/livecomments/services/lab/million/audience"
	"github.com/livecomments/livecomments/services/lab/settings"
	"github.com/livecomments/livecomments/services/lab/simulate"
	"github.com/livecomments/livecomments/services/lab/up"
	"github.com/livecomments/livecomments/services/shared/config"
)

var cli struct {
	Up         up.Command         `cmd:"" help:"Run every service in this process, with simulated viewers, and show what flows."`
	Simulate   simulate.Command   `cmd:"" help:"Place every viewer of a full-scale scene by each strategy, and count what every reader takes in."`
	Bench      bench.Command      `cmd:"" help:"Measure what a reader costs: processor time and memory a viewer, latency under load, beside the bare write(2)."`
	Experiment experiment.Command `cmd:"" help:"Place viewers in the running system, as processes, and measure what the simulation counts: routings, fleets, changes, a proxy."`
	Floor      bench.Floor        `cmd:"" hidden:""`
	Crowd      audience.Command   `cmd:"" hidden:""`
	Settings   settings.Command   `cmd:"" help:"List the environment variables of every service, in Markdown."`
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	parser := kong.Must(&cli, kong.Name("lab"), kong.Description("The live-comments system on one machine."), kong.UsageOnError())
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	command.BindTo(ctx, (*context.Context)(nil))
	var bad *config.Error
	switch err := command.Run(); {
	case errors.As(err, &bad):
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 2
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
}
