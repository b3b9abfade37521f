// Package fleet is the list of readers that all readers share. Each announces itself in Redis every second and reads all
// others in the same round trip:
//
//	reader-1 ──── announce: address, viewers, draining ... ────► Redis
//	         ◄─── all announcements, and Redis' time ───────────
//
// A reader that has been silent for three seconds, by Redis' clock, is gone; one that drains says so at once. The readers'
// own clocks do not count. While Redis is away every reader goes on with what it knew last, and when Redis is back, with
// nothing in it perhaps, the others have the time to announce themselves before they are taken for gone.
package fleet

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/broker"
)

const (
	// Interval is the time between two announcements.
	Interval = time.Second
	// Silence is how long a reader may be silent before it is gone.
	Silence = 3 * time.Second
	// urgency is the least time between two announcements where something has changed.
	urgency = 200 * time.Millisecond
	// patience is how long an announcement may take.
	patience = 900 * time.Millisecond
	// forgetAfter is the age at which the entry of a reader that did not say goodbye is removed.
	forgetAfter = time.Minute
	// grace is how long the others have to announce themselves when Redis is back.
	grace = Silence + Interval
	// leap is by how much Redis' clock may differ from ours in its pace before it counts as set anew.
	leap = time.Second
)

// State is what a reader says of itself. All of it but Viewers and Draining may be some moments old.
type State struct {
	// Viewers is the streams that it holds, Misplaced those of them that belong elsewhere, Capacity the most that it takes.
	Viewers, Misplaced, Capacity int
	// Deliveries counts comments written to viewers since the process began.
	Deliveries uint64
	// Arrived counts viewers that have come because another reader had sent them here.
	Arrived uint64
	// Large is the audiences that other readers should know of.
	Large []Audience
}

// View is the fleet as a reader sees it. It does not change.
type View struct {
	// Members are the readers that are not gone, in the order of their names; Own is the index of the one that looks.
	Members []Member
	Own     int
	// Now is Redis' time, and Read our own, when it was read.
	Now, Read time.Time
	// SentHere counts the viewers that others say they have sent here since the process began.
	SentHere uint64
	// Steady says that who is gone is known: it is not for a few seconds after Redis was away.
	Steady bool
}

// Age is how long ago a member has announced itself.
func (v *View) Age(member int, now time.Time) time.Duration {
	return v.Now.Sub(v.Members[member].At) + now.Sub(v.Read)
}

// Fleet announces one reader and knows the others. It is safe for concurrent use.
type Fleet struct {
	broker  *broker.Broker
	log     *zap.Logger
	self    Member // what does not change
	state   func() State
	changed func(*View)
	wake    chan struct{}
	known   chan struct{} // closed at the second view: at the first, readers that start together do not all see each other
	view    atomic.Pointer[View]
	secret  atomic.Pointer[string]
	drain   atomic.Bool
	gauges  gauges

	mu   sync.Mutex
	sent map[string]int // since the last announcement

	// What follows is Run's.
	deliveries uint64
	counted    time.Time // deliveries
	views      int
	resumed    time.Time // when Redis was last back, or its clock set, or this process had stood still
	stale      []string
	conflicts  conflicts
	reach      reach
}

// New makes the fleet of a reader that says of itself what state returns. policy names the way in which it places viewers;
// changed is called with each view, by Run.
func New(b *broker.Broker, log *zap.Logger, instance, address, policy string, state func() State, changed func(*View)) *Fleet {
	return &Fleet{
		broker: b, log: log, state: state, changed: changed,
		self: Member{Instance: instance, Address: address, Policy: policy, Process: rand.Uint64N(1<<53-1) + 1},
		wake: make(chan struct{}, 1), known: make(chan struct{}), sent: map[string]int{}, gauges: newGauges(),
	}
}

// View is the fleet as it was read last; nil before it was read for the first time.
func (f *Fleet) View() *View { return f.view.Load() }

// Await returns when the fleet is known, or with the error of ctx.
func (f *Fleet) Await(ctx context.Context) error {
	select {
	case <-f.known:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Now is Redis' time. It goes on by our own clock while Redis is away.
func (f *Fleet) Now() time.Time {
	view := f.View()
	if view == nil {
		return time.Now()
	}
	return view.Now.Add(time.Since(view.Read))
}

// Secret is what the readers of the fleet share; empty before there is a View.
func (f *Fleet) Secret() string {
	if secret := f.secret.Load(); secret != nil {
		return *secret
	}
	return ""
}

// Sent counts a viewer that is sent to another reader.
func (f *Fleet) Sent(instance string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent[instance]++
}

// Drain says at once that this reader takes no more viewers.
func (f *Fleet) Drain() {
	f.drain.Store(true)
	f.Urge()
}

// Urge has the next announcement made soon, because something has changed.
func (f *Fleet) Urge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run announces the reader until ctx ends, and then that it is gone.
func (f *Fleet) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := time.Now().Add(-Interval)
	for first := true; ; {
		select {
		case <-ctx.Done():
			f.leave(ctx, first)
			return
		case <-f.wake:
			timer.Reset(time.Until(last.Add(urgency)))
			continue
		case <-timer.C:
		}
		last = time.Now()
		if f.announce(ctx, first) {
			first = false
		}
		timer.Reset(time.Until(last.Add(f.interval())))
	}
}

// interval is the time until the next announcement. Readers that have just started, or found Redis again, look more often.
func (f *Fleet) interval() time.Duration {
	if view := f.View(); view != nil && !view.Steady {
		return urgency
	}
	return Interval
}

// leave takes the reader off the list, if it is on it.
func (f *Fleet) leave(ctx context.Context, never bool) {
	if never {
		return
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := f.broker.Leave(limited, f.self.Instance); err != nil {
		f.log.Warn("the other readers are not told that this one is gone; they notice it by its silence", zap.Error(err))
	}
}

// announce tells the fleet of this reader and takes in what it says. It reports whether that has worked.
func (f *Fleet) announce(ctx context.Context, first bool) bool {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	sent := f.takeSent()
	began := time.Now()
	roster, err := f.broker.Announce(limited, broker.Announcement{
		Instance: f.self.Instance, Text: f.announcement(began).encode(), First: first, Sent: sent,
		Forget: f.stale, Age: forgetAfter, Secret: cmp.Or(f.Secret(), broker.NewSecret()),
	})
	if err != nil {
		f.gauges.failures.Inc()
		if ctx.Err() == nil {
			f.log.Debug("the list of readers cannot be read", zap.Error(err))
		}
		return false
	}
	f.take(roster, began, first)
	return true
}

// takeSent returns how many viewers were sent to others since it was called last. What an announcement that fails has taken is
// lost: it may have arrived.
func (f *Fleet) takeSent() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	sent := f.sent
	f.sent = map[string]int{}
	return sent
}

// announcement is what the reader says now.
func (f *Fleet) announcement(now time.Time) Member {
	m, state := f.self, f.state()
	if elapsed := now.Sub(f.counted).Seconds(); !f.counted.IsZero() && elapsed > 0 {
		m.Deliveries = int(float64(state.Deliveries-f.deliveries) / elapsed)
	}
	f.deliveries, f.counted = state.Deliveries, now
	m.Viewers, m.Misplaced, m.Capacity, m.Arrived, m.Large = state.Viewers, state.Misplaced, state.Capacity, state.Arrived, state.Large
	m.Draining, m.Unreachable = f.drain.Load(), f.reach.unreachable(now)
	return m
}

// take makes a view of what was read.
func (f *Fleet) take(roster broker.Roster, now time.Time, first bool) {
	last := f.View()
	if last == nil || now.Sub(last.Read) > 2*Interval || jumped(last, roster.Now, now) {
		f.resumed = now
	}
	view := &View{Now: roster.Now, Read: now, SentHere: uint64(max(0, roster.SentHere)), Steady: last != nil && now.Sub(f.resumed) >= grace}
	view.Members = f.members(roster, last, now)
	view.Own = slices.IndexFunc(view.Members, func(m Member) bool { return m.Instance == f.self.Instance })
	if view.Own < 0 {
		return // somebody has removed it in between
	}
	f.secret.Store(&roster.Secret)
	f.conflicts.note(f, view, roster.Previous, first)
	f.reach.note(f, view, now)
	f.gauges.set(view, &f.conflicts, f.reach.unreachable(now))
	f.changed(view)
	f.view.Store(view)
	if f.views++; f.views == 2 {
		close(f.known)
	}
}

// jumped reports whether Redis' clock has been set, or another Redis has taken over, since the last view.
func jumped(last *View, redis, now time.Time) bool {
	return (redis.Sub(last.Now) - now.Sub(last.Read)).Abs() > leap
}

// members are the readers that are not gone. For as long as who has come back can have had no time to say so, those that were
// there before stay.
func (f *Fleet) members(roster broker.Roster, last *View, now time.Time) []Member {
	var members []Member
	f.stale = nil
	alive := map[string]bool{}
	for instance, entry := range roster.Entries {
		age := roster.Now.Sub(entry.At)
		if age > forgetAfter {
			f.stale = append(f.stale, instance)
		}
		m, err := parse(instance, entry)
		if err != nil || age > Silence || age < -leap {
			continue
		}
		alive[instance] = true
		members = append(members, m)
	}
	if last != nil && now.Sub(f.resumed) < grace {
		for _, m := range last.Members {
			if !alive[m.Instance] && !m.Draining {
				m.At = roster.Now
				members = append(members, m)
			}
		}
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Instance, b.Instance) })
	return members
}

// Register makes what is known of the fleet part of registry.
func (f *Fleet) Register(registry *prometheus.Registry) { f.gauges.register(registry, f) }
