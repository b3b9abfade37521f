// Package router decides which reader a viewer's stream belongs to, sends viewers there, and moves the streams that are here
// and belong elsewhere.
//
//	viewer ──► GET /connect ──► reader-1 ──► it belongs here: its stream begins
//	                               │
//	                               └──► 307, Location: http://reader-2/connect?...&placed=<mark>
//	viewer ──► GET /connect?...&placed=<mark> ──► reader-2: a viewer with a mark is taken
//
// Behind a gateway a viewer is sent nowhere, because it sees one address. The gateway asks any reader, and takes the viewer there:
//
//	viewer ──► gateway ──► GET /place ──► reader-1: {"reader": "http://reader-2", "mark": ...}
//	              └──► GET /connect, Livecomments-Mark: ... ──► reader-2
//
// Every reader computes the same order of readers for a video, by package placement, and knows the loads of all, by package
// fleet. The data never passes through a reader that does not hold the stream. A mark is for one connect: a browser comes back
// to the address that it was sent to, mark and all, and is sent on where it belongs then.
package router

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/fleet"
	"github.com/livecomments/livecomments/services/shared/placement"
)

// Config says where viewers belong.
type Config struct {
	Routing       string  `env:"ROUTING" default:"random" validate:"oneof=random hash bounded" help:"Where a viewer belongs: random is wherever it connects; with hash it is sent to its video's reader, with bounded too, unless that has too many viewers."`
	AdvertiseURL  string  `env:"ADVERTISE_URL" help:"URL at which viewers reach this reader and no other, for those who are sent here. Default: the listener's address and port."`
	LoadBound     float64 `env:"LOAD_BOUND" default:"0.25" validate:"min=0.01,max=10" help:"How far above the mean of viewers a reader may be with ROUTING=bounded: 0.25 allows 1.25 times the mean. The same for all readers."`
	BehindGateway bool    `env:"BEHIND_GATEWAY" default:"false" help:"Viewers come through a gateway that asks GET /place where each belongs. No viewer is redirected. The same for all readers; not with ROUTING=random."`
	MoveRate      float64 `env:"MOVE_RATE" default:"0.02" validate:"min=0,max=1" help:"Part of this reader's streams that may be ended a second because they belong to another reader, since the fleet or the load has changed; 0 for none."`
}

// virtualNodes is the points of a reader on the ring. All readers of all versions must have the same.
const virtualNodes = 160

// policy names how viewers are placed. Readers of different policies place no viewers on each other, so that while a fleet is
// changed from one to the other no stream is moved back and forth.
func (c *Config) policy() string {
	policy := c.Routing
	if c.Routing == string(placement.Bounded) {
		policy = fmt.Sprintf("%s/%g", c.Routing, c.LoadBound)
	}
	if c.BehindGateway {
		policy += "/gateway" // what it takes viewers to may be no address for them
	}
	return policy
}

// Streams are those of the reader.
type Streams interface {
	// Count is how many there are, with those that are about to begin, and Capacity how many there can be.
	Count() int
	Capacity() int
	// Delivered counts the comments written to them.
	Delivered() uint64
	// Audience is how many viewers a video has here; Audiences calls each with all videos that have any.
	Audience(video string) int
	Audiences(each func(video string, viewers int, topic *fanout.Topic))
	// Move ends n streams of a topic because they belong elsewhere.
	Move(topic *fanout.Topic, n int)
}

// Router routes the viewers of one reader. It is safe for concurrent use.
type Router struct {
	cfg      Config
	log      *zap.Logger
	streams  Streams
	self     uint64 // as marks name it
	fleet    *fleet.Fleet
	plan     atomic.Pointer[plan]
	changed  chan struct{}
	marks    marks
	attempts attempts
	probes   probes
	arrived  atomic.Uint64
	draining atomic.Bool
	metrics  *metrics

	misplaced atomic.Int64
	large     atomic.Pointer[[]fleet.Audience]

	mu   sync.Mutex
	kept map[string]int // viewers by video that stay though they belong elsewhere
}

// New makes a router for a reader of that name, which viewers reach at address. It routes nobody before Run.
func New(cfg Config, b *broker.Broker, log *zap.Logger, instance, address string, streams Streams) *Router {
	r := &Router{cfg: cfg, log: log, streams: streams, self: hashOf(instance), changed: make(chan struct{}, 1), kept: map[string]int{}}
	r.fleet = fleet.New(b, log, instance, address, cfg.policy(), r.state, r.take)
	r.metrics = newMetrics(r)
	return r
}

// Register makes what the router does, and what it knows of the fleet, part of registry.
func (r *Router) Register(registry *prometheus.Registry) {
	r.metrics.register(registry)
	r.fleet.Register(registry)
}

// Run announces the reader and moves streams until ctx ends.
func (r *Router) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	tasks.Go(func() { r.fleet.Run(ctx) })
	tasks.Go(func() { r.move(ctx) })
	tasks.Wait()
}

// Await returns when the fleet is known, or with the error of ctx.
func (r *Router) Await(ctx context.Context) error { return r.fleet.Await(ctx) }

// Drain has viewers sent to other readers from now on, and tells those that this one takes no more.
func (r *Router) Drain() {
	r.draining.Store(true)
	r.fleet.Drain()
}

// View is the fleet as this reader sees it; nil before it is known.
func (r *Router) View() *fleet.View { return r.fleet.View() }

// Misplaced is how many streams here belong elsewhere.
func (r *Router) Misplaced() int { return int(r.misplaced.Load()) }

// state is what the fleet is told of this reader.
func (r *Router) state() fleet.State {
	state := fleet.State{
		Viewers: r.streams.Count(), Capacity: r.streams.Capacity(), Misplaced: r.Misplaced(),
		Deliveries: r.streams.Delivered(), Arrived: r.arrived.Load(),
	}
	if large := r.large.Load(); large != nil {
		state.Large = *large
	}
	return state
}

// take makes a plan of a new view of the fleet.
func (r *Router) take(view *fleet.View) {
	p := newPlan(r.cfg, view, r.plan.Load())
	r.plan.Store(p)
	r.probes.forget(view.Members)
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// Counted is to be called when the number of streams has changed. Where it has changed by much, the others are told soon.
func (r *Router) Counted() {
	p := r.plan.Load()
	if p == nil {
		return
	}
	if change := r.streams.Count() - p.announced; max(change, -change) > p.tolerance {
		r.fleet.Urge()
	}
}

// Viewer is who asks for a stream.
type Viewer struct {
	User, Video string
	// Resumes says that it had a stream before, whose reader may be gone.
	Resumes bool
	// Mark is what the reader has given it that has sent it here; empty where none has.
	Mark string
	// Origin is that of its page, where it is one of another origin than the reader's, and Credentials what it has proved itself by,
	// where it can have any.
	Origin, Credentials string
}

// Verdict says where a viewer belongs.
type Verdict struct {
	// To is the base URL of the reader that it is to be sent to, and Mark what it is to be given; empty where it is to stay.
	To, Mark string
	// Placed says that another reader has sent it here, so that it cannot be sent on.
	Placed bool
	// Stay says that a viewer that is taken here belongs elsewhere, and is not to be moved there.
	Stay bool
}

// Place decides where a viewer belongs that asks for a stream here. Where no reader has room for it, it stays, to be refused.
func (r *Router) Place(ctx context.Context, v Viewer) Verdict {
	if how, good := r.takeMark(v.Mark); good {
		r.metrics.arrivals[how].Inc()
		return Verdict{Placed: true}
	}
	if r.cfg.BehindGateway {
		r.metrics.arrivals[unplaced].Inc()
		return Verdict{}
	}
	c := r.choose(ctx, v)
	switch c.target {
	case placement.Nowhere:
		return Verdict{}
	case c.plan.own:
		if c.kept {
			r.metrics.arrivals[kept].Inc()
			return Verdict{Stay: true}
		}
		r.metrics.arrivals[here].Inc()
		return Verdict{}
	default:
		return r.send(v, c)
	}
}

// Locate says to a gateway where a viewer belongs, which may be here. It reports whether any reader has room for the viewer.
func (r *Router) Locate(ctx context.Context, v Viewer) (verdict Verdict, found bool) {
	switch c := r.choose(ctx, v); c.target {
	case placement.Nowhere:
		return Verdict{}, false
	case c.plan.own:
		return r.direct(v, c.plan.members[c.target]), true
	default:
		return r.send(v, c), true
	}
}

// choice is the reader that is chosen for a viewer.
type choice struct {
	plan   *plan
	target placement.Reader // Nowhere when all are full
	// leaving says that this reader takes nobody, and kept that the viewer is to stay because its reader does not answer.
	leaving, kept bool
}

// choose chooses a reader by the plan, and passes over those that do not answer.
func (r *Router) choose(ctx context.Context, v Viewer) choice {
	p := r.plan.Load()
	candidates := p.candidates(placement.VideoOf(v.Video), p.weights)
	loads := p.loads(r.streams.Count())
	loads.Audience = p.audience(candidates.Video, r.streams.Audience(v.Video))
	if !p.isLarge(loads.Audience) {
		// When many come at once, what is known of the readers is of different moments. A reader must not be taken for full because
		// it was the last to announce itself: that would split its small videos. What is too much for it moves later.
		loads.Total += p.growth
	}
	c := choice{plan: p, leaving: p.own == placement.Nowhere || r.draining.Load()}
	if c.leaving && p.own != placement.Nowhere {
		loads.Viewers[p.own] = closed
	}
	failed, doubted := 0, placement.Nowhere
	for {
		c.target = p.pick(candidates, loads)
		if failed == mostProbes || c.target == placement.Nowhere && failed > 0 {
			// It may be that this reader can dial nobody.
			if c.leaving {
				c.target = doubted
				return c
			}
			c.target = p.own
		}
		c.kept = failed > 0 && c.target == p.own
		if c.target == placement.Nowhere || c.target == p.own || r.answers(ctx, v, p, c.target) {
			return c
		}
		if failed++; failed == 1 {
			doubted = c.target
		}
		loads.Viewers[c.target] = closed
	}
}

// mostProbes is how many readers are dialled for one viewer.
const mostProbes = 3

// answers reports whether a viewer can be expected to reach a reader. Where there is doubt, the reader is asked: it is late with
// its announcement, or the viewer was sent there and is here again, or it has lost a stream that may have been there.
func (r *Router) answers(ctx context.Context, v Viewer, p *plan, target placement.Reader) bool {
	m := p.members[target]
	if !v.Resumes && !p.late(target) && !r.attempts.again(v, m.Instance) {
		return true
	}
	return r.probes.answers(ctx, m.Address)
}

// send sends a viewer to another reader.
func (r *Router) send(v Viewer, c choice) Verdict {
	to := c.plan.members[c.target]
	c.plan.sent[c.target].add(time.Now())
	r.fleet.Sent(to.Instance)
	r.attempts.note(v, to.Instance)
	why := elsewhere
	if c.leaving {
		why = departing
	}
	r.metrics.redirects[why].Inc()
	return r.direct(v, to)
}

// direct is the way to a reader.
func (r *Router) direct(v Viewer, to fleet.Member) Verdict {
	return Verdict{To: to.Address, Mark: newMark(r.fleet.Now(), v, to.Instance).sign(r.fleet.Secret())}
}

// markParameter is the query parameter that carries a mark.
const markParameter = "placed"

// MarkHeader is the header that carries a mark from a gateway.
const MarkHeader = "Livecomments-Mark"

// MarkOf is the mark in a request; empty where there is none.
func (r *Router) MarkOf(request *http.Request) string {
	if r.cfg.BehindGateway {
		return request.Header.Get(MarkHeader)
	}
	return request.URL.Query().Get(markParameter)
}

// Location is the URL of the same request at another reader, with a mark.
func Location(to string, request *url.URL, mark string) string {
	query := request.Query()
	query.Set(markParameter, mark)
	return strings.TrimRight(to, "/") + request.EscapedPath() + "?" + query.Encode()
}

// takeMark reports whether a mark is good for this connect, and how the viewer has come then, and uses the mark up. Who made it
// does not count: all that it does is to end the viewer's way here.
func (r *Router) takeMark(text string) (how arrival, good bool) {
	m, err := parseMark(text)
	if err != nil || m.age(r.fleet.Now()) > markLifetime || !r.marks.use(m.nonce) {
		return "", false
	}
	if m.target != r.self {
		return stray, true
	}
	if m.signedWith(r.fleet.Secret()) {
		r.arrived.Add(1) // a forged mark does not hide that viewers do not come
	}
	return placed, true
}

// Spend uses a mark up with which a viewer came before the fleet was known here. Else the viewer could come back with it, and be
// taken by a reader that drains.
func (r *Router) Spend(text string) {
	if m, err := parseMark(text); err == nil {
		r.marks.use(m.nonce)
	}
}

// VouchForOrigin is the origin of the page of a viewer that another reader of the fleet has sent here, after that reader has let
// it in; empty where no reader has. credentials are those that come with the request; a preflight comes without.
func (r *Router) VouchForOrigin(mark, credentials string, preflight bool) string {
	m, err := parseMark(mark)
	switch {
	case err != nil || !m.signedWith(r.fleet.Secret()) || m.age(r.fleet.Now()).Abs() > markLifetime || r.marks.used(m.nonce):
		return ""
	case !preflight && m.credentials != hashOf(credentials):
		return "" // it was given to somebody else
	}
	return m.origin
}

// Keep counts a viewer that stays though it belongs elsewhere, until release.
func (r *Router) Keep(video string) (release func()) {
	add := func(n int) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.kept[video] += n; r.kept[video] == 0 {
			delete(r.kept, video)
		}
	}
	add(1)
	return func() { add(-1) }
}

func (r *Router) keptOf(video string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.kept[video]
}

// markLifetime is how long after it was given a mark is good: the time that a viewer may take for a redirect.
const markLifetime = 10 * time.Second
