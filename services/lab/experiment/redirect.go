package experiment

import (
	"context"
	"fmt"
	"time"

	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
	"github.com/livecomments/livecomments/services/shared/reports"
)

// Connecting is how long viewers wait for a stream under one routing, while there is nothing else to do.
type Connecting struct {
	Routing placement.Name `json:"routing"`
	Readers int            `json:"readers"`
	// PerSecond is how many viewers connect a second, and SentOn the part of them that is answered by a redirect.
	PerSecond float64 `json:"perSecond"`
	SentOn    float64 `json:"sentOn"`
	// FirstEventMillis is the time from the request to the stream's first event, redirects included.
	FirstEventMillis reports.Latency `json:"firstEventMillis"`
}

// modestRate is how many viewers connect a second where it is measured how long that takes.
const modestRate = 200

// measureRedirects measures what it costs a viewer to be sent on.
func (e *experiment) measureRedirects(ctx context.Context) error {
	if !e.wants(redirectPart) {
		return nil
	}
	readers := e.middle()
	for i, routing := range []placement.Name{placement.Random, placement.Bounded} {
		e.say("redirect %d of 2: %d viewers a second connect to %d readers, %s", i+1, modestRate, readers, routing)
		if err := e.measureConnecting(ctx, routing, readers); err != nil {
			return fmt.Errorf("%s: %w", routing, err)
		}
	}
	return nil
}

func (e *experiment) measureConnecting(ctx context.Context, routing placement.Name, readers int) error {
	s, err := e.start(ctx, routing, readers)
	if err != nil {
		return err
	}
	defer s.close()
	v, err := s.connect(ctx, popularity.Uniform, modestRate, s.doors(readers))
	if err != nil {
		return err
	}
	defer v.drop()
	limit := time.Minute + time.Duration(e.Viewers/modestRate)*time.Second
	if _, _, err := s.settle(ctx, v, 0, limit, func(figures) {}); err != nil {
		return err
	}
	now, err := s.read(ctx)
	if err != nil {
		return err
	}
	last, err := v.leave(ctx)
	if err != nil {
		return err
	}
	connects := float64(last.FirstEventMillis.Count)
	e.output.Connecting = append(e.output.Connecting, Connecting{
		Routing: routing, Readers: readers, PerSecond: modestRate, SentOn: now.sum(redirects) / connects, FirstEventMillis: last.FirstEventMillis,
	})
	return nil
}
