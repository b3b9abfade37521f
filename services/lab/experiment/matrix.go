package experiment

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/livecomments/livecomments/services/lab/simulate"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
)

// measureFleets measures every fleet under every popularity: under every routing, and one fleet behind HAProxy.
func (e *experiment) measureFleets(ctx context.Context) error {
	haproxy, found := findHAProxy()
	if e.wants(proxyPart) && !found {
		e.note("HAProxy is not installed: what a proxy costs is left out")
	}
	for i, distribution := range e.Popularity {
		for j, readers := range e.Readers {
			plans := e.plans(readers, haproxy)
			if len(plans) == 0 {
				continue
			}
			e.say("fleets %d of %d: %d readers, %s: %s", i*len(e.Readers)+j+1, len(e.Popularity)*len(e.Readers), readers, distribution, names(plans))
			if err := e.measureTogether(ctx, distribution, readers, plans); err != nil {
				return fmt.Errorf("%d readers, %s: %w", readers, distribution, err)
			}
		}
	}
	return nil
}

// plans are the ways in which a fleet is to be measured. haproxy is empty where there is none.
func (e *experiment) plans(readers int, haproxy string) (plans []plan) {
	if e.wants(matrixPart) {
		for _, routing := range e.Routings {
			plans = append(plans, plan{routing: routing})
		}
	}
	if e.wants(proxyPart) && haproxy != "" && readers == e.middle() {
		plans = append(plans, plan{placement.Random, haproxy})
	}
	return plans
}

// plan is one way to place the viewers of a fleet.
type plan struct {
	routing placement.Name
	haproxy string // the binary; empty where viewers connect to the readers
}

func names(plans []plan) string {
	var names []string
	for _, p := range plans {
		if p.haproxy != "" {
			names = append(names, "HAProxy")
		} else {
			names = append(names, string(p.routing))
		}
	}
	return strings.Join(names, ", ")
}

// measureTogether measures the plans for one fleet in turn, a second each, over and over: a machine differs from minute to
// minute. All their systems run all the time.
func (e *experiment) measureTogether(ctx context.Context, distribution popularity.Distribution, readers int, plans []plan) error {
	trials := make([]*trial, len(plans))
	for i, p := range plans {
		trials[i] = &trial{plan: p}
		defer trials[i].close()
	}
	err := each(ctx, trials, func(ctx context.Context, t *trial) error { return t.prepare(ctx, e, readers, distribution) })
	if err != nil {
		return err
	}
	for range e.Seconds {
		for _, t := range trials {
			if err := t.round(ctx); err != nil {
				return err
			}
		}
	}
	if err := each(ctx, trials, func(ctx context.Context, t *trial) error { return t.conclude(ctx) }); err != nil {
		return err
	}
	for _, t := range trials {
		if err := t.fleet.simulate(e); err != nil {
			return err
		}
		e.output.Fleets = append(e.output.Fleets, t.fleet)
	}
	return nil
}

// each does something with all trials at once.
func each(ctx context.Context, trials []*trial, do func(context.Context, *trial) error) error {
	doing, ctx := errgroup.WithContext(ctx)
	for _, t := range trials {
		doing.Go(func() error { return do(ctx, t) })
	}
	return doing.Wait()
}

// What the readers have by default.
const (
	virtualNodes = 160
	epsilon      = 0.25
)

// simulations is how many are made of a fleet. With so few videos they differ by a point or two.
const simulations = 20

// simulate adds the figures of the simulation to those that were measured.
func (f *Fleet) simulate(e *experiment) error {
	if f.Proxy {
		return nil
	}
	f.Simulated = &Simulated{}
	options := placement.Options{VirtualNodes: virtualNodes, Epsilon: epsilon}
	for seed := range uint64(simulations) {
		scene := simulate.Scene{Videos: e.Videos, Viewers: e.Viewers, CommentsPerMinute: e.CommentsPerMinute, Seed: seed}
		one, err := simulate.Place(scene, f.Popularity, f.Routing, f.Readers, options)
		if err != nil {
			return err
		}
		f.Simulated.Share += one.Share.Mean / simulations
		f.Simulated.CopiesPerComment += one.CopiesPerComment / simulations
		f.Simulated.Busiest += one.Busiest / simulations
		f.ClosedForm = one.ClosedForm
	}
	return nil
}

func pause(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(length):
		return nil
	}
}
