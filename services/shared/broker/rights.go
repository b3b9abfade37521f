package broker

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// Use is what a service does with Redis, and so the rights that it needs there.
type Use int

// The uses. docs/operations.md lists the rights of each as an ACL, and those of Topics, which nothing waits for.
const (
	// Publishing is Publish.
	Publishing Use = iota
	// Reading is a Subscription, History and Heads.
	Reading
	// Placing is Reading, Announce and Leave.
	Placing
)

// probe is the name of no video: an id has at least one character. What is done to it disturbs nobody, and the patterns of
// rights that let real names pass let its names pass too.
const probe = ""

// check reports why the broker cannot be used.
func (b *Broker) check(ctx context.Context, use Use) error {
	first, try := subscribing, b.probeSubscribe
	if use == Publishing {
		first, try = publishing, b.probePublish
	}
	err := b.redis.Ping(ctx).Err()
	if err == nil {
		err = try(ctx)
	}
	if err := b.outcome(first, err); err != nil || use == Publishing {
		return err
	}
	pages, err := b.History(ctx, Query{VideoID: probe})
	if err != nil {
		return err
	}
	if pages[0].Err != nil {
		return pages[0].Err
	}
	if _, err = b.Heads(ctx, probe); err != nil || use == Reading {
		return err
	}
	return b.Leave(ctx, probe)
}

func (b *Broker) probePublish(ctx context.Context) error {
	return b.publish(ctx, probe, "", "undo").Err()
}

func (b *Broker) probeSubscribe(ctx context.Context) error {
	channel := b.names.channel(probe)
	pubsub := b.redis.Subscribe(ctx)
	defer func() { _ = pubsub.Close() }()
	if err := pubsub.Subscribe(ctx, channel); err != nil {
		return err
	}
	if err := b.awaitConfirmation(ctx, pubsub, "subscribe"); err != nil {
		return err
	}
	if err := pubsub.Unsubscribe(ctx, channel); err != nil {
		return err
	}
	return b.awaitConfirmation(ctx, pubsub, "unsubscribe")
}

// awaitConfirmation passes over what others publish on the probe's channel meanwhile.
func (b *Broker) awaitConfirmation(ctx context.Context, pubsub *redis.PubSub, kind string) error {
	for {
		event, err := pubsub.ReceiveTimeout(ctx, b.redis.Options().ReadTimeout)
		if err != nil {
			return err
		}
		if confirmation, ok := event.(*redis.Subscription); ok && confirmation.Kind == kind {
			return nil
		}
	}
}

// forbidden reports whether Redis refuses for want of rights, and not because of its own state.
func forbidden(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	text := reply.Error()
	for _, code := range []string{"NOPERM", "NOAUTH", "WRONGPASS"} {
		if strings.HasPrefix(text, code) || strings.Contains(text, " "+code) {
			return true
		}
	}
	// Scripts report such refusals in other words, which depend on the version of Redis.
	return strings.Contains(text, "ACL failure in script") || strings.Contains(text, "The user executing the script can't")
}

// operation is what a right is needed for.
type operation int

const (
	publishing operation = iota
	subscribing
	readingHistory
	listingTopics
	announcing
	operations // how many there are
)

// rights is for which operations Redis has last refused for want of rights.
type rights struct{ missing [operations]atomic.Bool }

func (r *rights) refused(o operation) { r.missing[o].Store(true) }

func (r *rights) granted(o operation) {
	if r.missing[o].Load() {
		r.missing[o].Store(false)
	}
}

func (r *rights) anyMissing() bool {
	for o := range r.missing {
		if r.missing[o].Load() {
			return true
		}
	}
	return false
}

// Register makes what the broker knows of Redis part of registry.
func (b *Broker) Register(registry *prometheus.Registry) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "livecomments_redis_forbidden",
		Help: "1 while Redis answers and does not permit this service something that it needs there, else 0.",
	}, func() float64 {
		if b.rights.anyMissing() {
			return 1
		}
		return 0
	}))
}
