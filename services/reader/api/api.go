// Package api is the Reader API: it holds the viewers' event streams.
package api

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/reader/feed"
	"github.com/livecomments/livecomments/services/reader/router"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/descriptor"
	"github.com/livecomments/livecomments/services/shared/fleet"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/shared/secure"
	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/shared/telemetry"
)

// Config is everything that a reader can be told.
type Config struct {
	Port           int            `env:"PORT" default:"4000" validate:"min=1,max=65535" help:"Port of the HTTP API."`
	MaxConnections int64          `env:"MAX_CONNECTIONS" default:"10000" validate:"min=1" help:"Streams that this reader holds at the most; further ones are answered 503 with Retry-After."`
	Heartbeat      time.Duration  `env:"HEARTBEAT" default:"15s" validate:"min=10ms" help:"A stream that was quiet for this long gets a comment line, which keeps proxies from closing it."`
	WriteTimeout   time.Duration  `env:"WRITE_TIMEOUT" default:"10s" validate:"min=10ms" help:"A viewer that takes nothing for this long, while there is something to take, is cut."`
	StreamLifetime time.Duration  `env:"STREAM_LIFETIME" default:"30m" validate:"min=0" help:"A stream is ended after 80 to 100 % of this, so that viewers spread over new readers; they resume without loss. 0 for no limit."`
	Retry          time.Duration  `env:"RETRY" default:"1s" validate:"min=1ms" help:"How long viewers are told to wait before they connect again, each 50 to 150 % of it."`
	DrainPeriod    time.Duration  `env:"DRAIN_PERIOD" default:"10s" validate:"min=0" help:"At a stop the streams end spread over this time. It must be shorter than STOP_TIMEOUT."`
	TLS            secure.Config  `embed:""`
	Router         router.Config  `embed:""`
	Feed           feed.Config    `embed:""`
	Server         server.Config  `embed:""`
	Redis          broker.Config  `embed:""`
	Reports        reports.Config `embed:""`
}

// sendBuffer is the kernel's send buffer for a connection, in bytes; Linux takes twice as much.
const sendBuffer = 128 << 10

type api struct {
	cfg      Config
	log      *zap.Logger
	instance string
	feed     *feed.Feed
	engine   *fanout.Engine
	router   *router.Router // nil where viewers stay wherever they connect
	draining <-chan struct{}
	metrics  *metrics

	admitted atomic.Int64 // streams and those who wait for one
}

// Run serves the Reader API until ctx ends, and returns when all of it has stopped.
func Run(ctx context.Context, cfg Config) error {
	if err := config.Validate(&cfg); err != nil {
		return err
	}
	if cfg.DrainPeriod >= cfg.Server.StopTimeout {
		return config.Errorf("DRAIN_PERIOD=%s is out of bounds: it must be shorter than STOP_TIMEOUT=%s", cfg.DrainPeriod, cfg.Server.StopTimeout)
	}
	if needed := cfg.DrainPeriod + cfg.linger(); cfg.places() && needed >= cfg.Server.StopTimeout {
		return config.Errorf("STOP_TIMEOUT=%s is out of bounds: where viewers are placed it must be longer than DRAIN_PERIOD, 1.5 times RETRY and 1s together, which are %s",
			cfg.Server.StopTimeout, needed)
	}
	if cfg.Router.BehindGateway && !cfg.places() {
		return config.Errorf("BEHIND_GATEWAY=true needs ROUTING=hash or ROUTING=bounded: with ROUTING=random a viewer belongs nowhere")
	}
	srv, err := server.New("reader", cfg.Port, cfg.Server)
	if err != nil {
		return err
	}
	address, err := fleet.Address(cfg.Router.AdvertiseURL, cfg.listener(), cfg.TLS.On())
	if err != nil {
		return err
	}
	if cfg.TLS.On() {
		certificate, err := secure.Load(cfg.TLS, srv.Log)
		if err != nil {
			return err
		}
		certificate.Register(srv.Registry, "livecomments_reader_")
		srv.Secure(certificate)
		saveMemory()
	}
	cfg.fitDescriptors(descriptor.Limit(), srv.Log)
	redis, err := broker.Open(cfg.Redis, srv.Log)
	if err != nil {
		return err
	}
	defer func() { _ = redis.Close() }()
	a := &api{cfg: cfg, log: srv.Log, instance: srv.Instance, feed: feed.New(cfg.Feed, redis, srv.Log), draining: srv.Draining()}
	if a.engine, err = fanout.New(fanout.Options{
		Heartbeat: cfg.Heartbeat, WriteTimeout: cfg.WriteTimeout, Lifetime: cfg.StreamLifetime, DrainPeriod: cfg.DrainPeriod, Retry: a.retry,
	}); err != nil {
		return err
	}
	a.metrics = newMetrics(a)
	a.metrics.register(srv.Registry)
	a.feed.Register(srv.Registry)
	redis.Register(srv.Registry)
	// A slow viewer must not fill the kernel's memory either; and with little in its buffer a slow one is seen to take it.
	srv.OnAccept(func(connection net.Conn) {
		if tcp, ok := connection.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(sendBuffer)
		}
	})
	srv.SetStreams(a.engine)
	srv.Engine.GET("/connect", a.connectGet)
	srv.Engine.POST("/connect", a.connectPost)
	srv.Get("/health", a.health)
	tasks := []func(context.Context){
		a.engine.Run,
		a.feed.Run,
		func(ctx context.Context) { reports.Run(ctx, cfg.Reports, srv.Log, a.report) },
	}
	if !cfg.places() {
		ready := srv.ReadyAfter("Redis", func(ctx context.Context) error { return redis.Await(ctx, broker.Reading, srv.NotReady) })
		return srv.Run(ctx, append(tasks, ready)...)
	}
	a.router = router.New(cfg.Router, redis, srv.Log, srv.Instance, address, streams{a})
	return srv.Run(ctx, append(tasks, a.place(srv, redis)...)...)
}

// saveMemory has less room kept for garbage, unless GOGC says how much. TLS keeps some 7 KB of each viewer, which are live as
// long as its stream is, and streams make no garbage.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(25)
	}
}

// places reports whether viewers are placed.
func (c *Config) places() bool { return c.Router.Routing != string(placement.Random) }

// listener is where the reader will listen.
func (c *Config) listener() net.Addr {
	if c.Server.Listener != nil {
		return c.Server.Listener.Addr()
	}
	return &net.TCPAddr{IP: net.IPv6unspecified, Port: c.Port}
}

// fitDescriptors lowers MAX_CONNECTIONS to what so many descriptors allow, and keeps the connections for queries to Redis to a
// part of those that are the process's own.
func (c *Config) fitDescriptors(limit int, log *zap.Logger) {
	budget := descriptor.Share(limit)
	c.Redis.PoolSize = max(1, (limit-budget.Connections)/4)
	most := int64(budget.Streams)
	if c.MaxConnections <= most {
		return
	}
	log.Warn("MAX_CONNECTIONS is more than the file descriptors of this process allow (ulimit -n); it is lowered",
		zap.Int64("asked", c.MaxConnections), zap.Int("descriptors", limit), zap.Int64("allowed", most))
	c.MaxConnections = most
}

// request is what a viewer asks for.
type request struct {
	UserID  string `json:"userid"`
	VideoID string `json:"videoid"`
}

func (a *api) connectGet(c *gin.Context) {
	if c.Request.ContentLength != 0 {
		// Unread, it would hide that the viewer has left.
		server.Fail(c, http.StatusBadRequest, "GET /connect takes its fields from the query and no body")
		return
	}
	a.connect(c, request{UserID: c.Query("userid"), VideoID: c.Query("videoid")})
}

func (a *api) connectPost(c *gin.Context) {
	var body request
	if server.ReadJSON(c, &body) {
		a.connect(c, body)
	}
}

func (a *api) connect(c *gin.Context, viewer request) {
	position, err := validate(c, viewer, a.cfg.Redis.HistoryLength)
	if err != nil {
		server.Fail(c, http.StatusBadRequest, "%s", err)
		return
	}
	verdict, sentOn := a.route(c, viewer, position.After != nil)
	if sentOn {
		return
	}
	cursor, leave, err := a.join(c.Request.Context(), viewer.VideoID, position, verdict.Placed)
	if err != nil {
		a.refuse(c, err)
		return
	}
	if verdict.Stay {
		leave = a.keep(viewer.VideoID, leave)
	}
	a.stream(c, viewer, position, cursor, verdict.Stay, leave)
}

// refusal is why a viewer is answered 503. Its reason is that of the metric.
type refusal struct{ reason, says string }

func (r *refusal) Error() string { return r.says }

var (
	errFull     = &refusal{"full", "this reader holds as many streams as it may; try again"}
	errDraining = &refusal{"draining", "this reader is stopping; try again"}
	errRedis    = &refusal{"redis", "comments unavailable: Redis did not answer; try again"}
)

var refusals = []*refusal{errFull, errDraining, errRedis}

// join adds a viewer to its video, one that was placed also while the reader drains. The error is a refusal, or that of ctx.
func (a *api) join(ctx context.Context, video string, position feed.Position, placed bool) (cursor fanout.Cursor, leave func(fanout.Reason), err error) {
	release, err := a.admit(placed)
	if err != nil {
		return cursor, nil, err
	}
	cursor, exit, err := a.feed.Join(ctx, video, position)
	if err != nil {
		release()
		if errors.Is(err, feed.ErrUnavailable) {
			err = errRedis
		}
		return cursor, nil, err
	}
	return cursor, func(why fanout.Reason) { exit(why == fanout.Moved); release() }, nil
}

// admit counts a viewer, unless there is no room for it. One that was placed before the others knew of the drain cannot be sent
// on: it gets a stream that ends with the others.
func (a *api) admit(placed bool) (release func(), err error) {
	select {
	case <-a.draining:
		if !placed {
			return nil, errDraining
		}
	default:
	}
	release = func() { a.count(-1) }
	if a.count(1) > a.cfg.MaxConnections {
		release()
		return nil, errFull
	}
	return release, nil
}

// count adds to the streams and those who wait for one.
func (a *api) count(n int64) int64 {
	admitted := a.admitted.Add(n)
	if a.router != nil {
		a.router.Counted()
	}
	return admitted
}

// refuse answers a viewer that could not join.
func (a *api) refuse(c *gin.Context, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		server.Gone(c)
		return
	}
	a.metrics.refused.WithLabelValues(r.reason).Inc()
	// Those who are turned away together must not come back together.
	c.Header("Retry-After", retryAfter())
	// A viewer that is turned away must not hold a descriptor that another needs.
	c.Header("Connection", "close")
	server.Fail(c, http.StatusServiceUnavailable, "%s", r.says)
}

// retryAfter is after how many seconds a viewer may come back.
func retryAfter() string { return strconv.Itoa(1 + rand.IntN(5)) }

// validate checks what a viewer asks for and finds out where it wants to start. The header comes before the query: a
// browser repeats the query of its first request when it connects again.
func validate(c *gin.Context, viewer request, mostHistory int) (feed.Position, error) {
	var position feed.Position
	if viewer.UserID == "" || viewer.VideoID == "" {
		return position, errors.New("userid and videoid are required")
	}
	if err := comment.ValidateID("userid", viewer.UserID); err != nil {
		return position, err
	}
	if err := comment.ValidateID("videoid", viewer.VideoID); err != nil {
		return position, err
	}
	if last := c.Query("history"); last != "" {
		n, err := strconv.Atoi(last)
		if err != nil || n < 0 || n > mostHistory {
			return position, fmt.Errorf("history must be a whole number from 0 to %d", mostHistory)
		}
		position.Last = n
	}
	name, seen := "Last-Event-ID", c.GetHeader("Last-Event-ID")
	if seen == "" {
		name, seen = "lastEventId", c.Query("lastEventId")
	}
	if seen != "" {
		id, err := comment.ParseID(seen)
		if err != nil {
			return position, fmt.Errorf("%s: %w", name, err)
		}
		position = feed.Position{After: &id}
	}
	return position, nil
}

// retry is how long one viewer should wait before it connects again.
func (a *api) retry() time.Duration {
	return a.cfg.Retry/2 + rand.N(a.cfg.Retry)
}

func (a *api) health(c *gin.Context) {
	topics, _ := a.feed.Topics(0)
	server.JSON(c, http.StatusOK, gin.H{"status": "ok", "instance": a.instance, "connections": a.engine.Stats().Open, "topics": topics})
}

func (a *api) report() []reports.Report {
	count, topics := a.feed.Topics(reports.ListCap)
	streams := a.engine.Stats()
	report := &reports.Reader{
		InstanceID: a.instance, ActiveConnections: int(streams.Open),
		SubscribedTopics: topics, SubscribedTopicCount: count,
		MessagesReceived: a.feed.Received(), MessagesSent: streams.Comments, Gaps: streams.Gaps,
		Audiences: reports.Top(a.audiences), Usage: reports.OwnUsage(),
		Placement: reports.Placement{Routing: a.cfg.Router.Routing, Moved: telemetry.Count(a.metrics.ended[fanout.Moved])},
	}
	if a.router != nil {
		report.Redirects, report.Placed, report.Kept, report.Unplaced = a.router.Redirects(), a.router.Placed(), a.router.Kept(), a.router.Unplaced()
		report.Misplaced = a.router.Misplaced()
		if view := a.router.View(); view != nil {
			report.FleetReaders = len(view.Members)
		}
	}
	return []reports.Report{report}
}

// audiences calls each with every video that has viewers here and their number.
func (a *api) audiences(each func(video string, viewers uint64) bool) {
	going := true
	a.feed.Audiences(func(video string, viewers int, _ *fanout.Topic) {
		going = going && each(video, uint64(viewers)) //nolint:gosec // there are none below 1
	})
}
