package broker

import (
	"context"
	"sync"

	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/comment"
)

// Handler hears what a Subscription receives. Several of its methods can be called at a time, but those of one video one at
// a time, in the order of what happened, and Connected and Interrupted in turn. They must not block: while they run,
// nothing else is received on their connection.
type Handler interface {
	// Subscribed says that from now on every comment on the video arrives: first after Add, and again after each
	// interruption. What was published before must be read from the history.
	Subscribed(videoID string)
	// Received brings one comment. After an interruption, or when a history was read meanwhile, it can be one that is known.
	Received(videoID string, message Message)
	// Connected says that Redis answers, and that no connection is known to be broken: first, and again after each
	// interruption.
	Connected()
	// Interrupted says that a connection broke and that comments may be missed until Subscribed is called again.
	Interrupted(err error)
}

const (
	// connections is how many a Subscription has at the most: each has an output buffer of its own in Redis, and is read
	// and subscribed again beside the others.
	connections = 4
	// connectionChannels is how many channels each connection has before another is opened, so that a reader of few videos
	// needs but one.
	connectionChannels = 1000
)

// Subscription is a set of videos whose comments are received over a few connections, which are opened again whenever they
// break. Add and Remove are safe for concurrent use and never wait for Redis.
type Subscription struct {
	handler     Handler
	connections [connections]*connection

	mu   sync.Mutex // guards which connection a video is on
	open int        // connections that have been given videos, the first always

	health sync.Mutex // makes Connected and Interrupted alternate
	broken int        // connections that do not answer
	whole  bool       // Connected was called last
}

// NewSubscription makes an empty set whose events go to handler once it is Run.
func (b *Broker) NewSubscription(handler Handler) *Subscription {
	s := &Subscription{handler: handler, open: 1}
	for i := range s.connections {
		s.connections[i] = &connection{
			redis: b.redis, log: b.log.With(zap.Int("connection", i)), subscription: s, pingAfter: pingAfter,
			wanted: map[string]struct{}{}, changed: map[string]struct{}{}, unconfirmed: map[string]int{}, told: map[string]struct{}{}, wake: make(chan struct{}, 1),
		}
	}
	s.connections[0].awake() // also without a video it is to be known whether Redis answers
	return s
}

// Add asks for the comments of a video. Handler.Subscribed says when that is so.
func (s *Subscription) Add(videoID string) { s.change(videoID, true) }

// Remove gives the comments of a video up. One or two may still be received.
func (s *Subscription) Remove(videoID string) { s.change(videoID, false) }

func (s *Subscription) change(videoID string, want bool) {
	channel := comment.Channel(videoID)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.place(channel).change(channel, want)
}

// place is the connection that a channel is on, or else is to be on. A channel that was given up stays where it was until
// Redis has confirmed that, so that a video is never heard on two connections.
func (s *Subscription) place(channel string) *connection {
	least := s.connections[0]
	for _, c := range s.connections[:s.open] {
		if c.has(channel) {
			return c
		}
		if c.load() < least.load() {
			least = c
		}
	}
	if s.open < connections && least.load() >= connectionChannels {
		least = s.connections[s.open]
		s.open++
	}
	return least
}

// Unconfirmed is how many videos Redis has not confirmed, since Add or since their connection broke: their comments are
// not received yet.
func (s *Subscription) Unconfirmed() (count int) {
	for _, c := range s.connections {
		count += c.unheard()
	}
	return count
}

// Run receives until ctx ends.
func (s *Subscription) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	for _, c := range s.connections {
		tasks.Go(func() { c.run(ctx) })
	}
	tasks.Wait()
}

// up notes that a connection answers, again or for the first time.
func (s *Subscription) up(again bool) {
	s.health.Lock()
	defer s.health.Unlock()
	if again {
		s.broken--
	}
	if s.broken == 0 && !s.whole {
		s.whole = true
		s.handler.Connected()
	}
}

// down notes that a connection does not answer.
func (s *Subscription) down(err error) {
	s.health.Lock()
	defer s.health.Unlock()
	s.broken++
	if s.whole {
		s.whole = false
		s.handler.Interrupted(err)
	}
}
