package broker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/comment"
)

const (
	// subscribeBatch bounds the channels in one SUBSCRIBE or UNSUBSCRIBE, so that its confirmations, one a channel, do not hold
	// deliveries up.
	subscribeBatch = 1000
	// subscribePause is the time between two commands, in which what came meanwhile gathers to be one.
	subscribePause = 2 * time.Millisecond
	// failurePause is the time before a command that could not be sent is sent again.
	failurePause = 250 * time.Millisecond
	// pingAfter is how long the connection may be silent before it is asked; after two and a half times that it is dead.
	pingAfter = 5 * time.Second
	// retryMost is the longest pause between attempts to connect. A connection that has held for stable begins the
	// pauses afresh: one that Redis cuts again and again, because we are too slow, must not be replaced in a tight loop.
	retryMost, stable = time.Second, 10 * time.Second
)

// connection is one of those of a Subscription, with the channels that are on it.
type connection struct {
	redis        *redis.Client
	log          *zap.Logger
	subscription *Subscription
	pingAfter    time.Duration

	// These are receive's own.
	connected bool
	since     time.Time     // when it last became connected
	said      bool          // that it is not
	pause     time.Duration // before the next attempt

	mu      sync.Mutex
	wanted  map[string]struct{}
	changed map[string]struct{} // channels of which Redis must be told whether they are wanted
	// unconfirmed holds the channels of which Redis has not confirmed on this connection what is wanted, and for how many
	// checks. Of those in told it has yet to answer a command, and gets none before: so a confirmation is always that of the
	// latest.
	unconfirmed map[string]int
	told        map[string]struct{}
	wake        chan struct{}
	heard       time.Time // when anything last came from Redis
}

func (c *connection) change(channel string, want bool) {
	c.mu.Lock()
	if want {
		c.wanted[channel] = struct{}{}
	} else {
		delete(c.wanted, channel)
	}
	c.changed[channel] = struct{}{}
	c.unconfirmed[channel] = 0
	c.mu.Unlock()
	c.awake()
}

// has reports whether the channel is on this connection, or may still be.
func (c *connection) has(channel string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, wanted := c.wanted[channel]
	_, unconfirmed := c.unconfirmed[channel]
	return wanted || unconfirmed
}

func (c *connection) load() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.wanted)
}

// unheard is how many channels are wanted that Redis has not confirmed.
func (c *connection) unheard() (count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for channel := range c.unconfirmed {
		if _, wanted := c.wanted[channel]; wanted {
			count++
		}
	}
	return count
}

func (c *connection) awake() {
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

// session is the life of one go-redis PubSub. That reconnects and resubscribes by itself when its connection breaks; a
// connection that is open and dead, or on which Redis refuses, ends the session.
func (c *connection) session(ctx context.Context) {
	pubsub := c.redis.Subscribe(ctx)
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	c.mu.Lock()
	// Redis knows of nothing yet, and so need not be told of what was given up.
	clear(c.changed)
	clear(c.unconfirmed)
	clear(c.told)
	for channel := range c.wanted {
		c.changed[channel] = struct{}{}
		c.unconfirmed[channel] = 0
	}
	c.heard = time.Now()
	c.mu.Unlock()
	tasks.Go(func() { c.tell(ctx, pubsub) })
	tasks.Go(func() {
		c.watch(ctx, pubsub)
		// Receive does not look at its context; closing the connection is what ends it.
		_ = pubsub.Close()
	})
	c.receive(ctx, pubsub)
	cancel()
	tasks.Wait()
}

func (c *connection) receive(ctx context.Context, pubsub *redis.PubSub) {
	for ctx.Err() == nil {
		event, err := pubsub.Receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			c.up()
			c.dispatch(event)
			c.hear(event) // after the handler has, so that a video always counts as unconfirmed or as the handler's
			continue
		}
		c.down(err)
		if errors.Is(err, redis.ErrClosed) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(c.pause):
		}
		c.pause = min(retryMost, c.pause*2+50*time.Millisecond)
		var refusal redis.Error
		if errors.As(err, &refusal) {
			// Redis answers, but not as asked: without the rights to subscribe, say. The library takes its channels for
			// subscribed to all the same, so they must be asked for on another connection.
			return
		}
	}
}

// up notes that Redis answers.
func (c *connection) up() {
	if c.connected {
		return
	}
	again := c.said
	c.connected, c.said, c.since = true, false, time.Now()
	c.log.Info("subscription connected")
	c.subscription.up(again)
}

// down notes that it does not, and says so once.
func (c *connection) down(err error) {
	if !c.said {
		c.said = true
		c.log.Warn("subscription interrupted", zap.Error(err))
		c.subscription.down(err)
	}
	if !c.connected {
		return
	}
	c.connected = false
	if time.Since(c.since) > stable {
		c.pause = 0
	}
	c.interrupt()
}

func (c *connection) dispatch(event any) {
	switch event := event.(type) {
	case *redis.Message:
		id, data, _ := strings.Cut(event.Payload, " ")
		parsed, err := comment.ParseID(id)
		if err != nil {
			c.log.Warn("ignored a message that is not a comment", zap.String("channel", event.Channel), zap.Error(err))
			return
		}
		c.subscription.handler.Received(comment.VideoOfChannel(event.Channel), Message{parsed, data})
	case *redis.Subscription:
		if event.Kind == "subscribe" {
			c.subscription.handler.Subscribed(comment.VideoOfChannel(event.Channel))
		}
	}
}

// tell brings Redis' view of the set in line with ours, many channels a command.
func (c *connection) tell(ctx context.Context, pubsub *redis.PubSub) {
	// The answer shows that Redis is there, also while there is no video to subscribe to.
	_ = pubsub.Ping(ctx)
	for {
		add, remove := c.takeChanges()
		pause := subscribePause
		if len(remove) > 0 && pubsub.Unsubscribe(ctx, remove...) != nil {
			c.retell(remove)
			pause = failurePause
		}
		if len(add) > 0 && pubsub.Subscribe(ctx, add...) != nil {
			// pubsub may have connected again without these channels, so they are told once more.
			c.retell(add)
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

func (c *connection) retell(channels []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, channel := range channels {
		delete(c.told, channel)
		c.changed[channel] = struct{}{}
	}
}

func (c *connection) takeChanges() (add, remove []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for channel := range c.changed {
		if _, told := c.told[channel]; told {
			continue
		}
		c.told[channel] = struct{}{}
		if _, wanted := c.wanted[channel]; wanted {
			add = append(add, channel)
		} else {
			remove = append(remove, channel)
		}
		delete(c.changed, channel)
		if len(add) == subscribeBatch || len(remove) == subscribeBatch {
			break
		}
	}
	return add, remove
}

// watch returns when ctx ends or the connection, though open, has stopped answering. Meanwhile it tells again of
// channels that Redis does not confirm, so that no video stays silent unnoticed.
func (c *connection) watch(ctx context.Context, pubsub *redis.PubSub) {
	ticker := time.NewTicker(c.pingAfter)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		switch silence := c.silence(); {
		case silence < c.pingAfter:
			c.insist()
		case silence < c.pingAfter*5/2:
			// Where Redis is down this fails; receive is then trying to connect already.
			_ = pubsub.Ping(ctx)
		default:
			c.log.Warn("Redis is silent; opening another connection", zap.Duration("silence", silence))
			return
		}
	}
}

// insist tells Redis again of channels that it has not confirmed for two checks.
func (c *connection) insist() {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := 0
	for channel, checks := range c.unconfirmed {
		c.unconfirmed[channel] = checks + 1
		if checks >= 2 {
			c.unconfirmed[channel] = 0
			delete(c.told, channel)
			c.changed[channel] = struct{}{}
			again++
		}
	}
	if again > 0 {
		c.log.Warn("telling Redis again of channels that it did not confirm", zap.Int("channels", again))
		c.awake()
	}
}

func (c *connection) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.told) // there will be no answer
	for channel := range c.unconfirmed {
		c.changed[channel] = struct{}{}
	}
	for channel := range c.wanted {
		c.unconfirmed[channel] = 0
	}
	c.awake()
}

func (c *connection) hear(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = time.Now()
	confirmation, ok := event.(*redis.Subscription)
	if !ok {
		return
	}
	delete(c.told, confirmation.Channel)
	if _, changed := c.changed[confirmation.Channel]; changed {
		c.awake()
		return
	}
	if _, wanted := c.wanted[confirmation.Channel]; wanted == (confirmation.Kind == "subscribe") {
		delete(c.unconfirmed, confirmation.Channel)
	}
}

func (c *connection) silence() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.heard)
}
