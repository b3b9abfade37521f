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
)

// probe is the name of no video: an id has at least one character. What is done to it disturbs nobody, and the patterns of
// rights that let real names pass let its names pass too.
const probe = ""

// check reports why the broker cannot be used.
func (b *Broker) check(ctx context.Context, use Use) error {
	if err := b.redis.Ping(ctx).Err(); err != nil {
		return b.unavailable(err)
	}
	switch use {
	case Publishing:
		if err := b.publish(ctx, probe, "", "undo").Err(); err != nil {
			return b.unavailable(err)
		}
	case Reading:
		if err := b.probeSubscribe(ctx); err != nil {
			return b.unavailable(err)
		}
		pages, err := b.History(ctx, Query{VideoID: probe}, Query{VideoID: probe, Last: 1})
		if err != nil {
			return err
		}
		if pages[0].Err != nil {
			return pages[0].Err
		}
		_, err = b.Heads(ctx, probe)
		return err
	}
	return nil
}

func (b *Broker) probeSubscribe(ctx context.Context) error {
	channel := b.names.channel(probe)
	pubsub := b.redis.Subscribe(ctx, channel)
	defer func() { _ = pubsub.Close() }()
	if _, err := pubsub.ReceiveTimeout(ctx, b.redis.Options().ReadTimeout); err != nil {
		return err
	}
	if err := pubsub.Unsubscribe(ctx, channel); err != nil {
		return err
	}
	_, err := pubsub.ReceiveTimeout(ctx, b.redis.Options().ReadTimeout)
	return err
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
	// What a script calls is refused in words of their own, which depend on the version of Redis.
	return strings.Contains(text, "ACL failure in script") || strings.Contains(text, "The user executing the script can't")
}

// rights is whether Redis has last refused for want of rights.
type rights struct{ missing atomic.Bool }

func (r *rights) refused() { r.missing.Store(true) }
func (r *rights) granted() {
	if r.missing.Load() {
		r.missing.Store(false)
	}
}

// Register makes what the broker knows of Redis part of registry.
func (b *Broker) Register(registry *prometheus.Registry) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "livecomments_redis_forbidden",
		Help: "1 while Redis answers and does not permit this service what it needs there, else 0.",
	}, func() float64 {
		if b.rights.missing.Load() {
			return 1
		}
		return 0
	}))
}
