package feed

import (
	"context"
	"sync"
	"time"

	"github.com/livecomments/livecomments/services/shared/broker"
)

// askInterval is how often Redis is asked, while somebody watches.
const askInterval = time.Second

// redis is what Redis says of itself. It is asked apart from the snapshots, so that they do not wait for it.
type redis struct {
	ask func(context.Context) (broker.Info, error)

	mu   sync.Mutex
	last redisFigures
}

// redisFigures are null where Redis does not say, as an embedded one.
type redisFigures struct {
	// Up is null before the first answer.
	Up       *bool    `json:"up"`
	Memory   *uint64  `json:"memory"`
	Commands *float64 `json:"commands"`
	CPU      *float64 `json:"cpu"`
	Channels *uint64  `json:"channels"`
	Version  *string  `json:"version"`
}

// run asks while somebody watches, until ctx ends.
func (r *redis) run(ctx context.Context, watched func() bool) {
	ticker := time.NewTicker(askInterval)
	defer ticker.Stop()
	var before broker.Info
	var at time.Time
	for {
		if !watched() {
			// What was true then says nothing to who comes next.
			r.set(redisFigures{})
			before = broker.Info{}
		} else {
			info, err := r.ask(ctx)
			now := time.Now()
			r.set(figuresOf(info, err == nil, before, now.Sub(at)))
			before, at = info, now
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// figuresOf takes rates from two answers.
func figuresOf(info broker.Info, up bool, before broker.Info, between time.Duration) redisFigures {
	f := redisFigures{Up: &up, Memory: info.Memory, Channels: info.Channels}
	if info.Version != "" {
		f.Version = &info.Version
	}
	// A Redis that has started anew counts from 0.
	if now, last := info.Commands, before.Commands; now != nil && last != nil && *now >= *last {
		f.Commands = rounded(float64(*now-*last) / between.Seconds())
	}
	if now, last := info.CPU, before.CPU; now != nil && last != nil && *now >= *last {
		f.CPU = rounded((*now - *last) / between.Seconds())
	}
	return f
}

func (r *redis) set(figures redisFigures) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = figures
}

func (r *redis) figures() redisFigures {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}
