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

// Handler hears what a Subscription receives. Its methods are called one at a time, in the order of what happened,
// and must not block: while they run, nothing is received.
type Handler interface {
	// Subscribed says that from now on every comment on the video arrives: first after Add, and again after each
	// interruption. What was published before must be read from the history.
	Subscribed(videoID string)
	// Received brings one comment. After an interruption, or when a history was read meanwhile, it can be one that is known.
	Received(videoID string, message Message)
	// Connected says that Redis answers on the connection: first, and again after each interruption.
	Connected()
	// Interrupted says that the connection broke and that comments may be missed until Subscribed is called again.
	Interrupted(err error)
}

const (
	// subscribeBatch bounds the channels in one SUBSCRIBE or UNSUBSCRIBE, so that its confirmations, one a channel, do not hold
	// deliveries up.
	subscribeBatch = 1000
	// pingAfter is how long the connection may be silent before it is asked; after two and a half times that it is dead.
	pingAfter = 5 * time.Second
	// retryMost is the longest pause between attempts to connect. A connection that has held for stable begins the
	// pauses afresh: one that Redis cuts again and again, because we are too slow, must not be replaced in a tight loop.
	retryMost, stable = time.Second, 10 * time.Second
)

// Subscription is a set of videos whose comments are received over one connection, which is opened again whenever it
// breaks. Add and Remove are safe for concurrent use and never wait for Redis.
type Subscription struct {
	redis     *redis.Client
	log       *zap.Logger
	handler   Handler
	pingAfter time.Duration

	// These are receive's own.
	connected bool
	since     time.Time     // when it last became connected
	said      bool          // that it is not
	pause     time.Duration // before the next attempt

	mu      sync.Mutex
	wanted  map[string]struct{}
	changed map[string]struct{} // channels of which Redis must be told whether they are wanted
	// unconfirmed holds the wanted channels that Redis has not confirmed on this connection, and for how many checks.
	unconfirmed map[string]int
	wake        chan struct{}
	heard       time.Time // when anything last came from Redis
}

// NewSubscription makes an empty set whose events go to handler once it is Run.
func (b *Broker) NewSubscription(handler Handler) *Subscription {
	return &Subscription{
		redis: b.redis, log: b.log, handler: handler, pingAfter: pingAfter,
		wanted: map[string]struct{}{}, changed: map[string]struct{}{}, unconfirmed: map[string]int{}, wake: make(chan struct{}, 1),
	}
}

// Add asks for the comments of a video. Handler.Subscribed says when that is so.
func (s *Subscription) Add(videoID string) { s.change(videoID, true) }

// Remove gives the comments of a video up. One or two may still be received.
func (s *Subscription) Remove(videoID string) { s.change(videoID, false) }

func (s *Subscription) change(videoID string, want bool) {
	channel := comment.Channel(videoID)
	s.mu.Lock()
	if want {
		s.wanted[channel] = struct{}{}
		s.unconfirmed[channel] = 0
	} else {
		delete(s.wanted, channel)
		delete(s.unconfirmed, channel)
	}
	s.changed[channel] = struct{}{}
	s.mu.Unlock()
	s.awake()
}

func (s *Subscription) awake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run receives until ctx ends.
func (s *Subscription) Run(ctx context.Context) {
	for ctx.Err() == nil {
		s.session(ctx)
	}
}

// session is the life of one go-redis PubSub. That reconnects and resubscribes by itself when its connection breaks; a
// connection that is open and dead, or on which Redis refuses, ends the session.
func (s *Subscription) session(ctx context.Context) {
	pubsub := s.redis.Subscribe(ctx)
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	s.mu.Lock()
	for channel := range s.wanted {
		s.changed[channel] = struct{}{}
	}
	s.heard = time.Now()
	s.mu.Unlock()
	tasks.Go(func() { s.tell(ctx, pubsub) })
	tasks.Go(func() {
		s.watch(ctx, pubsub)
		// Receive does not look at its context; closing the connection is what ends it.
		_ = pubsub.Close()
	})
	s.receive(ctx, pubsub)
	cancel()
	tasks.Wait()
}

func (s *Subscription) receive(ctx context.Context, pubsub *redis.PubSub) {
	for ctx.Err() == nil {
		event, err := pubsub.Receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.up()
			s.hear(event)
			s.dispatch(event)
			continue
		}
		s.down(err)
		if errors.Is(err, redis.ErrClosed) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.pause):
		}
		s.pause = min(retryMost, s.pause*2+50*time.Millisecond)
		var refusal redis.Error
		if errors.As(err, &refusal) {
			// Redis answers, but not as asked: without the rights to subscribe, say. The library takes its channels for
			// subscribed to all the same, so they must be asked for on another connection.
			return
		}
	}
}

// up notes that Redis answers.
func (s *Subscription) up() {
	if s.connected {
		return
	}
	s.connected, s.said, s.since = true, false, time.Now()
	s.log.Info("subscription connected")
	s.handler.Connected()
}

// down notes that it does not, and says so once.
func (s *Subscription) down(err error) {
	if !s.said {
		s.said = true
		s.log.Warn("subscription interrupted", zap.Error(err))
	}
	if !s.connected {
		return
	}
	s.connected = false
	if time.Since(s.since) > stable {
		s.pause = 0
	}
	s.interrupt()
	s.handler.Interrupted(err)
}

func (s *Subscription) dispatch(event any) {
	switch event := event.(type) {
	case *redis.Message:
		id, data, _ := strings.Cut(event.Payload, " ")
		parsed, err := comment.ParseID(id)
		if err != nil {
			s.log.Warn("ignored a message that is not a comment", zap.String("channel", event.Channel), zap.Error(err))
			return
		}
		s.handler.Received(comment.VideoOfChannel(event.Channel), Message{parsed, data})
	case *redis.Subscription:
		if event.Kind == "subscribe" {
			s.handler.Subscribed(comment.VideoOfChannel(event.Channel))
		}
	}
}

// tell brings Redis' view of the set in line with ours, many channels a command.
func (s *Subscription) tell(ctx context.Context, pubsub *redis.PubSub) {
	// The answer shows that Redis is there, also while there is no video to subscribe to.
	_ = pubsub.Ping(ctx)
	for {
		add, remove := s.takeChanges()
		if len(remove) > 0 {
			// On an error pubsub has forgotten the channels all the same, and with the connection Redis has.
			_ = pubsub.Unsubscribe(ctx, remove...)
		}
		pause := time.Duration(0)
		if len(add) > 0 && pubsub.Subscribe(ctx, add...) != nil {
			// pubsub may have connected again without these channels, so they are told once more.
			s.retell(add)
			pause = 250 * time.Millisecond
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
		case <-s.wake:
		}
	}
}

func (s *Subscription) retell(channels []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, channel := range channels {
		s.changed[channel] = struct{}{}
	}
}

func (s *Subscription) takeChanges() (add, remove []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for channel := range s.changed {
		if _, wanted := s.wanted[channel]; wanted {
			add = append(add, channel)
		} else {
			remove = append(remove, channel)
		}
		delete(s.changed, channel)
		if len(add) == subscribeBatch || len(remove) == subscribeBatch {
			break
		}
	}
	return add, remove
}

// watch returns when ctx ends or the connection, though open, has stopped answering. Meanwhile it asks again for
// channels that Redis does not confirm, so that no video stays silent unnoticed.
func (s *Subscription) watch(ctx context.Context, pubsub *redis.PubSub) {
	ticker := time.NewTicker(s.pingAfter)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		switch silence := s.silence(); {
		case silence < s.pingAfter:
			s.insist()
		case silence < s.pingAfter*5/2:
			// Where Redis is down this fails; receive is then trying to connect already.
			_ = pubsub.Ping(ctx)
		default:
			s.log.Warn("Redis is silent; opening another connection", zap.Duration("silence", silence))
			return
		}
	}
}

// insist tells Redis again of channels that it has not confirmed for two checks.
func (s *Subscription) insist() {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := 0
	for channel, checks := range s.unconfirmed {
		s.unconfirmed[channel] = checks + 1
		if checks >= 2 {
			s.unconfirmed[channel] = 0
			s.changed[channel] = struct{}{}
			again++
		}
	}
	if again > 0 {
		s.log.Warn("subscribing again to channels that Redis did not confirm", zap.Int("channels", again))
		s.awake()
	}
}

func (s *Subscription) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for channel := range s.wanted {
		s.unconfirmed[channel] = 0
	}
}

func (s *Subscription) hear(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
	if confirmation, ok := event.(*redis.Subscription); ok && confirmation.Kind == "subscribe" {
		delete(s.unconfirmed, confirmation.Channel)
	}
}

func (s *Subscription) silence() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.heard)
}
