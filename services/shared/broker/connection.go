package broker

import (
	"context"
	"errors"
	"math/bits"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	// subscribeBatch bounds the channels in one SUBSCRIBE or UNSUBSCRIBE, so that its confirmations, one a channel, do not hold
	// deliveries up.
	subscribeBatch = 1000
	// subscribePause is the time between two commands, in which changes gather to be one.
	subscribePause = 2 * time.Millisecond
	// failurePause is the time before a command that could not be sent is sent again.
	failurePause = 250 * time.Millisecond
	// pingAfter is how long the connection may be silent before it is asked; after two and a half times that it is dead.
	pingAfter = 5 * time.Second
	// maxRetryPause is the longest pause between attempts to connect, maxForbiddenPause that between attempts which Redis answers with a
	// refusal. A connection that has held for stable begins the pauses afresh: one that Redis cuts again and again, because we
	// are too slow, must not be replaced in a tight loop.
	maxRetryPause, maxForbiddenPause, stable = time.Second, 5 * time.Second, 10 * time.Second
)

// health is whether a connection delivers.
type health int

const (
	// unknown is before the first answer.
	unknown health = iota
	// connected is while Redis answers.
	connected
	// interrupted is while it does not answer.
	interrupted
	// refused is while it answers, but not as asked. Where there are channels, only a confirmation ends it: a user without the
	// right to subscribe is answered to a ping.
	refused
)

// connection is one of those of a Subscription, with the channels that are on it.
type connection struct {
	redis        *redis.Client
	log          *zap.Logger
	rights       *rights
	subscription *Subscription
	pingAfter    time.Duration

	// These belong to receive alone.
	health   health
	since    time.Time     // when it last became connected
	pause    time.Duration // before the next attempt
	failures uint          // failed attempts since it was last connected

	mu       sync.Mutex // taken last: under Subscription.mu, and with nothing under it
	channels map[string]*channel
	wanted   int        // how many channels are
	outbox   []*channel // those that have become pending, some more than once
	wake     chan struct{}
	received time.Time     // when anything last came from Redis
	renew    chan struct{} // asks watch to replace the connection
}

func newConnection(s *Subscription, b *Broker, number int) *connection {
	return &connection{
		redis: b.redis, log: b.log.With(zap.Int("connection", number)), rights: &b.rights, subscription: s, pingAfter: pingAfter,
		channels: map[string]*channel{}, wake: make(chan struct{}, 1), renew: make(chan struct{}, 1),
	}
}

func (c *connection) change(name string, wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.channels[name]
	if ch == nil {
		ch = &channel{name: name}
		c.channels[name] = ch
	}
	if ch.wanted != wanted {
		if wanted {
			c.wanted++
		} else {
			c.wanted--
		}
	}
	ch.change(wanted)
	c.dispatch(ch)
}

// dispatch has a pending channel's command sent. The caller holds c.mu.
func (c *connection) dispatch(ch *channel) {
	if ch.state == pending {
		c.outbox = append(c.outbox, ch)
		c.wakeUp()
	}
}

// has reports whether the channel is on this connection, or may still be.
func (c *connection) has(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.channels[name] != nil
}

func (c *connection) load() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted
}

// unconfirmedCount is how many channels are wanted that Redis has not confirmed.
func (c *connection) unconfirmedCount() (count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.channels {
		if ch.wanted && ch.state != confirmed {
			count++
		}
	}
	return count
}

func (c *connection) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run receives until ctx ends. It connects when there is a reason to.
func (c *connection) run(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-c.wake:
	}
	for ctx.Err() == nil {
		c.session(ctx)
	}
}

// session runs one go-redis PubSub, which reconnects and resubscribes by itself when its connection breaks. A
// connection that is open and dead, that does not deliver, or on which Redis refuses, ends the session.
func (c *connection) session(ctx context.Context) {
	pubsub := c.redis.Subscribe(ctx)
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	c.begin()
	tasks.Go(func() { c.send(ctx, pubsub) })
	tasks.Go(func() {
		c.watch(ctx, pubsub)
		// Receive does not look at its context; closing the connection is what ends it.
		_ = pubsub.Close()
	})
	c.receive(ctx, pubsub)
	cancel()
	tasks.Wait()
}

// begin makes every wanted channel pending. Redis knows of nothing yet, and so need not be told of what was given up.
func (c *connection) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received, c.outbox = time.Now(), nil
	select {
	case <-c.renew:
	default:
	}
	for name, ch := range c.channels {
		if !ch.wanted {
			delete(c.channels, name)
			continue
		}
		*ch = channel{name: name, wanted: true}
		c.dispatch(ch)
	}
}

func (c *connection) receive(ctx context.Context, pubsub *redis.PubSub) {
	for ctx.Err() == nil {
		event, err := pubsub.Receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			c.deliver(event)
			continue
		}
		closed := errors.Is(err, redis.ErrClosed)
		if closed && c.health != connected {
			return // watch has ended the session, and what it closed was noted
		}
		pause := c.down(err)
		if closed {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		if c.health == refused {
			// The library takes its channels for subscribed to all the same, so they must be asked for on another connection.
			return
		}
	}
}

// deliver hands an event to the handler, and then notes it: so at no moment does a video count neither as unconfirmed nor as
// catching up.
func (c *connection) deliver(event any) {
	c.up(event)
	switch event := event.(type) {
	case *redis.Message:
		message, err := parseMessage(event.Payload)
		if err != nil {
			c.subscription.malformed.Add(1)
			c.log.Debug("passed over a message", zap.String("channel", event.Channel), zap.Error(err))
			break
		}
		c.subscription.handler.Received(c.subscription.names.video(event.Channel), message)
	case *redis.Subscription:
		if subscribes(event) {
			c.subscription.handler.Subscribed(c.subscription.names.video(event.Channel))
		}
	}
	c.note(event)
}

// up notes that Redis answers.
func (c *connection) up(event any) {
	if c.health == connected {
		return
	}
	if c.health == refused && !subscribes(event) && c.load() > 0 {
		return
	}
	again := c.health != unknown
	c.health, c.since, c.failures = connected, time.Now(), 0
	c.rights.granted(subscribing)
	c.log.Info("subscription connected")
	c.subscription.up(again)
}

// subscribes reports whether an event confirms that a channel is subscribed to.
func subscribes(event any) bool {
	confirmation, ok := event.(*redis.Subscription)
	return ok && confirmation.Kind == "subscribe"
}

// down notes that Redis does not answer, or not as asked, and returns how long to wait before the next attempt. What goes on
// is logged after 1, 2, 4, 8, … attempts.
func (c *connection) down(err error) (pause time.Duration) {
	before, most := c.health, maxRetryPause
	var refusal redis.Error
	if errors.As(err, &refusal) {
		c.health = refused
	} else if before != refused {
		c.health = interrupted
	}
	if forbidden(err) {
		c.rights.refused(subscribing)
		most = maxForbiddenPause
	}
	if c.failures++; bits.OnesCount(c.failures) == 1 {
		c.log.Warn("subscription interrupted", zap.Error(err), zap.Uint("attempts", c.failures))
	}
	if before == connected || before == unknown {
		c.subscription.down(err)
	}
	if before == connected {
		c.interrupt()
		if time.Since(c.since) > stable {
			c.pause = 0
		}
	}
	pause = c.pause
	c.pause = min(most, c.pause*2+50*time.Millisecond)
	return pause
}

// send brings Redis' view of the set in line with ours, many channels a command.
func (c *connection) send(ctx context.Context, pubsub *redis.PubSub) {
	// The answer shows that Redis is there, also while there is no video to subscribe to.
	_ = pubsub.Ping(ctx)
	for {
		add, remove := c.takeOutbox()
		pause := subscribePause
		if len(remove) > 0 && pubsub.Unsubscribe(ctx, remove...) != nil {
			c.resend(remove)
			pause = failurePause
		}
		if len(add) > 0 && pubsub.Subscribe(ctx, add...) != nil {
			// pubsub may have connected again without these channels, so their command is sent once more.
			c.resend(add)
			pause = failurePause
		}
		if len(add)+len(remove) > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
				continue
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
	}
}

func (c *connection) resend(names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if ch := c.channels[name]; ch != nil {
			ch.fail()
			c.dispatch(ch)
		}
	}
}

// takeOutbox takes the channels of the next commands.
func (c *connection) takeOutbox() (add, remove []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.outbox) > 0 && len(add) < subscribeBatch && len(remove) < subscribeBatch {
		ch := c.outbox[0]
		c.outbox = c.outbox[1:]
		if ch.state != pending || c.channels[ch.name] != ch {
			continue // it stood there twice
		}
		ch.send()
		if ch.wanted {
			add = append(add, ch.name)
		} else {
			remove = append(remove, ch.name)
		}
	}
	if len(c.outbox) == 0 {
		c.outbox = nil
	}
	return add, remove
}

// watch returns when ctx ends, when the connection, though open, has stopped answering, or when it is to be renewed.
// Meanwhile it has commands sent again that Redis does not confirm, so that no video stays silent unnoticed.
func (c *connection) watch(ctx context.Context, pubsub *redis.PubSub) {
	ticker := time.NewTicker(c.pingAfter)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.renew:
			c.log.Warn("Redis has not delivered a message on this connection; opening another")
			return
		case <-ticker.C:
		}
		switch silence := c.silence(); {
		case silence < c.pingAfter:
			c.resendOverdue()
		case silence < c.pingAfter*5/2:
			// Where Redis is down this fails; receive is then trying to connect already.
			_ = pubsub.Ping(ctx)
		default:
			c.log.Warn("Redis is silent; opening another connection", zap.Duration("silence", silence))
			return
		}
	}
}

// resendOverdue has commands sent again whose confirmations are overdue.
func (c *connection) resendOverdue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := 0
	for _, ch := range c.channels {
		if ch.overdue() {
			c.dispatch(ch)
			again++
		}
	}
	if again > 0 {
		c.log.Warn("subscribing again to channels that Redis did not confirm", zap.Int("channels", again))
	}
}

func (c *connection) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ch := range c.channels {
		ch.interrupt()
		c.dispatch(ch)
	}
}

// note records when something came, and what a confirmation confirms.
func (c *connection) note(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received = time.Now()
	confirmation, ok := event.(*redis.Subscription)
	if !ok {
		return
	}
	ch := c.channels[confirmation.Channel]
	if ch == nil {
		return
	}
	ch.confirm(subscribes(event))
	if ch.settled() {
		delete(c.channels, ch.name)
	}
	c.dispatch(ch)
}

func (c *connection) silence() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.received)
}

// distrust has the connection replaced. While that is under way further calls change nothing.
func (c *connection) distrust() {
	select {
	case c.renew <- struct{}{}:
	default:
	}
}
