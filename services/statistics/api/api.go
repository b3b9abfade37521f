// Package api is the Statistics API: it takes the parts' reports and serves what they add up to.
package api

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/statistics/feed"
	"github.com/livecomments/livecomments/services/statistics/pages"
	"github.com/livecomments/livecomments/services/statistics/tally"
)

// Config is everything that the Statistics API can be told.
type Config struct {
	Port           int           `env:"PORT" default:"5000" validate:"min=1,max=65535" help:"Port of the HTTP API, which is for reading."`
	ReportPort     int           `env:"REPORT_PORT" default:"5001" validate:"min=1,max=65535" help:"Port where the other parts report. Nothing else is served there."`
	TopicsInterval time.Duration `env:"TOPICS_INTERVAL" default:"10s" validate:"omitempty,min=100ms" help:"How often to ask Redis for the list of all videos that readers are subscribed to, which is work for it; 0 for never."`
	Tally          tally.Config  `embed:""`
	Pages          pages.Config  `embed:""`
	Server         server.Config `embed:""`
	Redis          broker.Config `embed:""`

	// ReportListener replaces ReportPort, for tests and the lab.
	ReportListener net.Listener `kong:"-" validate:"-"`
}

type api struct {
	cfg      Config
	log      *zap.Logger
	instance string
	tally    *tally.Tally
	broker   *broker.Broker
}

// Run serves the Statistics API until ctx ends, and returns when all of it has stopped.
func Run(ctx context.Context, cfg Config) error {
	if err := config.Validate(&cfg); err != nil {
		return err
	}
	if cfg.Server.Listener == nil && cfg.ReportListener == nil && cfg.Port == cfg.ReportPort {
		return config.Errorf("REPORT_PORT=%d must not be that of PORT", cfg.ReportPort)
	}
	if err := cfg.Pages.Validate(); err != nil {
		return err
	}
	srv, err := server.New("statistics", cfg.Port, cfg.Server)
	if err != nil {
		return err
	}
	redis, err := broker.Open(cfg.Redis, srv.Log)
	if err != nil {
		return err
	}
	defer func() { _ = redis.Close() }()
	a := &api{cfg: cfg, log: srv.Log, instance: srv.Instance, tally: tally.New(cfg.Tally, time.Now, srv.Log), broker: redis}
	srv.Registry.MustRegister(a.tally)
	redis.Register(srv.Registry)
	srv.Get("/statistics", func(c *gin.Context) { server.JSON(c, http.StatusOK, a.tally.Totals()) })
	srv.Get("/health", func(c *gin.Context) { server.JSON(c, http.StatusOK, gin.H{"status": "ok", "instance": a.instance}) })
	a.takeReports(srv)
	tasks := []func(context.Context){a.askForTopics}
	if cfg.Pages.Pages {
		fleet := feed.New(a.tally, redis.Info, cfg.Pages.Watchers, srv.Draining())
		tasks = append(tasks, fleet.Run)
		srv.Engine.GET("/fleet", fleet.Serve)
		srv.Get("/viewers", a.viewers)
		if err := pages.Register(srv, cfg.Pages); err != nil {
			return err
		}
	}
	// Without Redis all is served but what it says itself: nothing waits for it.
	srv.Ready()
	return srv.Run(ctx, tasks...)
}

// viewers answers how many viewers a video has.
func (a *api) viewers(c *gin.Context) {
	video := c.Query("videoid")
	if err := comment.ValidateID("videoid", video); err != nil {
		server.Fail(c, http.StatusBadRequest, "%s", err)
		return
	}
	viewers, exact := a.tally.Audience(video)
	c.Header("Cache-Control", "no-store")
	server.JSON(c, http.StatusOK, gin.H{"videoid": video, "viewers": viewers, "exact": exact})
}

// takeReports takes reports on the port that is for them, and says on the other where that is.
func (a *api) takeReports(srv *server.Server) {
	listener := srv.ListenAlso("REPORT_PORT", a.cfg.ReportPort, a.cfg.ReportListener)
	port := a.cfg.ReportPort
	if a.cfg.ReportListener != nil {
		port = a.cfg.ReportListener.Addr().(*net.TCPAddr).Port
	}
	for path, handler := range map[string]gin.HandlerFunc{
		(*reports.CommentAPI).Path(nil): take[reports.CommentAPI](a.tally.TakeComment),
		(*reports.Reader).Path(nil):     take[reports.Reader](a.tally.TakeReader),
		(*reports.Client).Path(nil):     take[reports.Client](a.tally.TakeClient),
	} {
		listener.POST(path, handler)
		srv.Engine.Any(path, func(c *gin.Context) {
			server.Fail(c, http.StatusNotFound, "reports are taken on port %d, not here", port)
		})
	}
}

// take is the handler of one kind of report.
func take[T any, R interface {
	*T
	reports.Report
}](store func(T) error) gin.HandlerFunc {
	return func(c *gin.Context) {
		// The port is not for browsers, but a page can send to every address that its viewer's machine reaches. Parts of the
		// system send no Origin; browsers do.
		if c.GetHeader("Origin") != "" {
			server.Fail(c, http.StatusForbidden, "reports are not taken from web pages")
			return
		}
		var report T
		if !server.ReadJSON(c, &report) {
			return
		}
		if err := R(&report).Validate(); err != nil {
			server.Fail(c, http.StatusBadRequest, "%s", err)
			return
		}
		if err := store(report); err != nil {
			server.Fail(c, http.StatusServiceUnavailable, "%s", err)
			return
		}
		server.JSON(c, http.StatusOK, gin.H{"success": true})
	}
}

// askForTopics keeps the list of channels that Redis has, until ctx ends. Redis goes through all of them for each answer,
// so it is asked seldom and by nobody else. While it is away the readers keep to their topics, so what was last known stands.
func (a *api) askForTopics(ctx context.Context) {
	if a.cfg.TopicsInterval == 0 {
		return
	}
	ticker := time.NewTicker(a.cfg.TopicsInterval)
	defer ticker.Stop()
	failing := false
	for {
		count, subscribers, err := a.broker.Topics(ctx, reports.ListCap)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			a.log.Warn("Redis does not give the list of channels; what was last known of them stands", zap.Error(err))
		case err == nil && failing:
			a.log.Info("Redis gives the list of channels again")
		}
		failing = err != nil
		if err == nil {
			a.tally.SetTopics(count, subscribers)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
