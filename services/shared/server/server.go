// Package server is the face that every service shows: it listens, answers probes and metrics, turns bad requests away
// with one clear sentence, drains and stops.
package server

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/secure"
	"github.com/livecomments/livecomments/services/shared/task"
	"github.com/livecomments/livecomments/services/shared/telemetry"
)

// Config holds the settings that all services have in common.
type Config struct {
	Log             telemetry.Config `embed:""`
	InstanceID      string           `env:"INSTANCE_ID" help:"Name of this instance in figures and logs, different for each. Default: the host's name and the port."`
	BodyLimit       int64            `env:"BODY_LIMIT" default:"65536" validate:"min=1" help:"Largest request body, in bytes; a larger one is answered 413."`
	CORSOrigins     []string         `env:"CORS_ORIGINS" default:"*" help:"Origins whose pages may call this API, separated by commas, such as https://app.example.org; * allows all."`
	CORSCredentials bool             `env:"CORS_CREDENTIALS" help:"Whether these pages may send credentials, for an authenticating proxy in front: cookies and the header Authorization. Not with *."`
	DrainDelay      time.Duration    `env:"DRAIN_DELAY" default:"0s" validate:"min=0" help:"How long to go on serving after the stop signal with /readyz at 503, for load balancers that must notice first."`
	IdleTimeout     time.Duration    `env:"IDLE_TIMEOUT" default:"620s" validate:"min=1s" help:"How long a connection may wait for its next request. It must be longer than load balancers keep theirs (Google's 600s, most others less): else a request now and then meets a connection that is just being closed."`
	StopTimeout     time.Duration    `env:"STOP_TIMEOUT" default:"30s" validate:"min=1s" help:"How long requests and streams may take to end after that; what is left is cut."`

	// Listener replaces the port, for tests and the lab; Logger replaces the one that the settings describe.
	Listener net.Listener `kong:"-" validate:"-"`
	Logger   *zap.Logger  `kong:"-" validate:"-"`
}

// The mode is a global of gin: set once, before services that share a process start side by side.
func init() { gin.SetMode(gin.ReleaseMode) }

// Server is one service's HTTP side. Register routes on Engine before Run.
type Server struct {
	Engine   *gin.Engine
	Registry *prometheus.Registry
	Log      *zap.Logger
	Instance string

	cfg      Config
	port     int
	notReady atomic.Pointer[string]
	stopping chan struct{}
	draining chan struct{}
	linger   time.Duration
	vouch    func(*gin.Context) (origin string)
	secured  *secure.Certificate // of the port of Engine; nil where it speaks plain HTTP
	handlers sync.WaitGroup
	observed gin.HandlerFunc
	others   []address // beside that of Engine
	accepted func(net.Conn)
	streams  Streams

	connections *connections
}

// Streams are connections that a service has taken over from HTTP.
type Streams interface {
	// Open is how many there are.
	Open() int
	// Drain begins to end them.
	Drain()
	// Await returns how many are left: when none is, or when ctx ends.
	Await(ctx context.Context) int
}

// none are the streams of a service that has none.
type none struct{}

func (none) Open() int                 { return 0 }
func (none) Drain()                    {}
func (none) Await(context.Context) int { return 0 }

// New builds the server of a service with the routes that all have: /livez, /readyz and /metrics. It is not ready until
// Ready is called.
func New(service string, port int, cfg Config) (*Server, error) {
	instance := cfg.InstanceID
	if instance == "" {
		host, _ := os.Hostname()
		instance = host + ":" + strconv.Itoa(port)
	} else if err := comment.ValidateID("INSTANCE_ID", instance); err != nil {
		return nil, config.Errorf("%s", err)
	}
	logger := cfg.Logger
	if logger == nil {
		var err error
		if logger, err = telemetry.NewLogger(cfg.Log, service, instance); err != nil {
			return nil, err
		}
	}
	s := &Server{
		Engine: gin.New(), Registry: telemetry.NewRegistry(), Log: logger, Instance: instance,
		cfg: cfg, port: port, stopping: make(chan struct{}), draining: make(chan struct{}), streams: none{},
	}
	s.connections = newConnections(logger, func() int { return s.streams.Open() })
	s.NotReady("starting")
	crossOrigin, err := s.allowOrigins()
	if err != nil {
		return nil, err
	}
	s.observed = s.observe()
	s.equip(s.Engine, crossOrigin)
	s.Get("/metrics", gin.WrapH(promhttp.HandlerFor(s.Registry, promhttp.HandlerOpts{})))
	return s, nil
}

// Get registers a handler for GET and HEAD.
func (s *Server) Get(path string, handler gin.HandlerFunc) { get(s.Engine, path, handler) }

// Secure has the service's port speak https only. [Server.Run] looks after the certificate.
func (s *Server) Secure(certificate *secure.Certificate) { s.secured = certificate }

// OnAccept has every connection handed to accepted before it is served.
func (s *Server) OnAccept(accepted func(net.Conn)) { s.accepted = accepted }

// SetStreams has the server count streams among its connections, and end them when it stops.
func (s *Server) SetStreams(streams Streams) { s.streams = streams }

// Ready makes /readyz answer 200, until the server stops.
func (s *Server) Ready() { s.notReady.Store(nil) }

// NotReady makes /readyz answer 503 with the reason.
func (s *Server) NotReady(reason string) { s.notReady.Store(&reason) }

// ReadyAfter is a task for Run that makes the service ready when what it waits for has happened. What is lost later does
// not take the readiness back, because an outage of Redis would then empty every load balancer at once.
func (s *Server) ReadyAfter(what string, await func(context.Context) error) func(context.Context) {
	s.NotReady("waiting for " + what)
	return func(ctx context.Context) {
		if await(ctx) == nil {
			s.Ready()
		}
	}
}

func (s *Server) readyz(c *gin.Context) {
	select {
	case <-s.stopping:
		Fail(c, http.StatusServiceUnavailable, "not ready: stopping")
		return
	default:
	}
	if reason := s.notReady.Load(); reason != nil {
		Fail(c, http.StatusServiceUnavailable, "not ready: %s", *reason)
		return
	}
	JSON(c, http.StatusOK, gin.H{"status": "ok"})
}

// Stopping is closed when the server is told to stop. For DRAIN_DELAY it goes on as before.
func (s *Server) Stopping() <-chan struct{} { return s.stopping }

// Linger has the server answer new requests while its streams end, and for so long after the last of them has ended, instead
// of closing its port first: their clients come back to it, to be told where to go. Without streams it closes at once.
func (s *Server) Linger(after time.Duration) { s.linger = after }

// Draining is closed when the server begins to end its streams. Requests on open connections can still come then.
func (s *Server) Draining() <-chan struct{} { return s.draining }

// Run serves until ctx ends, then drains: for DRAIN_DELAY everything goes on with /readyz at 503, then no connection is
// accepted any more (see Linger) and what is under way has STOP_TIMEOUT to end. The tasks run beside it, and are told to end after
// the last request has; Run returns when all have. The error says what kept it from serving, or how many connections it
// had to cut.
func (s *Server) Run(ctx context.Context, tasks ...func(context.Context)) error {
	if s.secured != nil {
		tasks = append(tasks, s.secured.Run)
	}
	stop := task.Start(ctx, tasks...)
	defer stop()
	err := s.serve(ctx)
	s.handlers.Wait()
	return err
}

// headerTimeout is how long a client may take to send the header of a request, and before that for a handshake of TLS. Tests
// shorten it.
var headerTimeout = 10 * time.Second

func (s *Server) serve(ctx context.Context) error {
	engines, err := s.listen()
	if err != nil {
		return err
	}
	web := &http.Server{
		Handler:           http.HandlerFunc(byListener),
		BaseContext:       contexts(engines),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          s.errorLog(),
		ConnState:         s.connections.changed,
		ConnContext: func(ctx context.Context, connection net.Conn) context.Context {
			if s.accepted != nil {
				s.accepted(secure.Below(connection))
			}
			return ctx
		},
	}
	var serving sync.WaitGroup
	defer serving.Wait()
	failed := make(chan error, len(engines))
	for listener := range engines {
		serving.Go(func() { failed <- web.Serve(listener) })
		s.Log.Info("listening", zap.Stringer("address", listener.Addr()))
	}
	select {
	case err := <-failed:
		_ = web.Close()
		return err
	case <-ctx.Done():
	}

	close(s.stopping)
	s.Log.Info("stopping", zap.Duration("drainDelay", s.cfg.DrainDelay), zap.Duration("stopTimeout", s.cfg.StopTimeout))
	time.Sleep(s.cfg.DrainDelay)
	close(s.draining)
	open := s.streams.Open()
	s.streams.Drain()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.StopTimeout)
	defer cancel()
	if s.linger > 0 && open > 0 {
		s.streams.Await(limit)
		s.wait(limit, s.linger)
	}
	left := s.end(limit, web)
	s.Log.Info("stopped")
	if left > 0 {
		return fmt.Errorf("%d connections had not ended within STOP_TIMEOUT=%s and were cut", left, s.cfg.StopTimeout)
	}
	return nil
}

// errorLog takes what net/http has to say.
func (s *Server) errorLog() *log.Logger {
	return log.New(handshakeFilter{s.Log}, "", 0)
}

type handshakeFilter struct{ log *zap.Logger }

// Write logs a line. Of a handshake that fails only the client's side can tell whether it matters: who only looks whether a
// port is open makes none.
func (f handshakeFilter) Write(line []byte) (int, error) {
	level := zap.InfoLevel
	if bytes.HasPrefix(line, []byte("http: TLS handshake error")) {
		level = zap.DebugLevel
	}
	f.log.Log(level, string(bytes.TrimSpace(line)))
	return len(line), nil
}

// wait returns after a time, or when ctx ends.
func (s *Server) wait(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}

// end waits until everything that is under way has ended. It returns how much has not when ctx ends, and must be cut.
func (s *Server) end(ctx context.Context, web *http.Server) (left int) {
	if web.Shutdown(ctx) != nil {
		left = s.connections.count()
		_ = web.Close()
	}
	// The last requests may have become streams.
	s.handlers.Wait()
	return left + s.streams.Await(ctx)
}
