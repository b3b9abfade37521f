package broker

import (
	"context"
	"sync"
	"sync/atomic"
)

// Handler receives what a Subscription does. Several of its methods can be called at a time, but those of one video one at
// a time, in the order of what happened, and Connected and Interrupted in turn. They must not block: while they run,
// nothing else is received on their connection.
type Handler interface {
	// Subscribed says that from now on every message on the video arrives: first after Add, and again after each
	// interruption. What was published before must be read from the history.
	Subscribed(videoID string)
	// Received brings one message. After an interruption, or when a history was read meanwhile, it can be one that is known.
	// One whose predecessor was not received says that a connection, though open, has not delivered.
	Received(videoID string, message Message)
	// Connected says that Redis answers, and that no connection is known to be broken: first, and again after each
	// interruption.
	Connected()
	// Interrupted says that a connection broke and that messages may be missed until Subscribed is called again.
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

// Subscription is a set of videos whose messages are received over a few connections, which are opened again whenever they
// break. Add and Remove are safe for concurrent use and never wait for Redis.
type Subscription struct {
	names       names
	handler     Handler
	connections [connections]*connection
	malformed   atomic.Uint64

	mu   sync.Mutex // guards which connection a video is on; taken before a connection's
	open int        // connections that have been given videos, the first always

	healthMu          sync.Mutex // makes Connected and Interrupted alternate; the handler is called under it
	broken            int        // connections that do not answer
	reportedConnected bool       // Connected was called last
}

// NewSubscription makes an empty set whose events go to handler once it is Run.
func (b *Broker) NewSubscription(handler Handler) *Subscription {
	s := &Subscription{names: b.names, handler: handler, open: 1}
	for i := range s.connections {
		s.connections[i] = newConnection(s, b, i)
	}
	s.connections[0].wakeUp() // also without a video it is to be known whether Redis answers
	return s
}

// Add asks for the messages of a video. Handler.Subscribed says when that is so.
func (s *Subscription) Add(videoID string) { s.change(videoID, true) }

// Remove gives the messages of a video up. One or two may still be received.
func (s *Subscription) Remove(videoID string) { s.change(videoID, false) }

func (s *Subscription) change(videoID string, wanted bool) {
	channel := s.names.channel(videoID)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connectionOf(channel).change(channel, wanted)
}

// Distrust replaces the connection that a video is on, because a message of it was published and has not come.
func (s *Subscription) Distrust(videoID string) {
	channel := s.names.channel(videoID)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.connections[:s.open] {
		if c.has(channel) {
			c.distrust()
		}
	}
}

// connectionOf is the connection that a channel is on, or else is to be on. A channel that was given up stays where it was
// until Redis has confirmed that, so that a video is never received on two connections. The caller holds s.mu.
func (s *Subscription) connectionOf(channel string) *connection {
	least, load := s.connections[0], s.connections[0].load()
	for _, c := range s.connections[:s.open] {
		if c.has(channel) {
			return c
		}
		if l := c.load(); l < load {
			least, load = c, l
		}
	}
	if s.open < connections && load >= connectionChannels {
		least = s.connections[s.open]
		s.open++
	}
	return least
}

// Unconfirmed is how many videos Redis has not confirmed, since Add or since their connection broke: their messages are
// not received yet.
func (s *Subscription) Unconfirmed() (count int) {
	for _, c := range s.connections {
		count += c.unconfirmedCount()
	}
	return count
}

// Malformed is how many messages were passed over because they do not have the form of one, or that of another version.
func (s *Subscription) Malformed() uint64 { return s.malformed.Load() }

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
	s.healthMu.Lock()
	defer s.healthMu.Unlock()
	if again {
		s.broken--
	}
	if s.broken == 0 && !s.reportedConnected {
		s.reportedConnected = true
		s.handler.Connected()
	}
}

// down notes that a connection does not answer.
func (s *Subscription) down(err error) {
	s.healthMu.Lock()
	defer s.healthMu.Unlock()
	s.broken++
	if s.reportedConnected {
		s.reportedConnected = false
		s.handler.Interrupted(err)
	}
}
