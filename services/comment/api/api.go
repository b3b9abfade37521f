// Package api is the Comment API: it takes comments from viewers and hands them to Redis.
package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/shared/server"
)

// Config is everything that the Comment API can be told.
type Config struct {
	Port           int            `env:"PORT" default:"3000" validate:"min=1,max=65535" help:"Port of the HTTP API."`
	PublishTimeout time.Duration  `env:"PUBLISH_TIMEOUT" default:"3s" validate:"min=10ms" help:"How long Redis may take to store and publish a comment; after that the answer is 503."`
	Server         server.Config  `embed:""`
	Redis          broker.Config  `embed:""`
	Reports        reports.Config `embed:""`
}

type api struct {
	cfg       Config
	log       *zap.Logger
	instance  string
	broker    *broker.Broker
	counts    *counts
	published prometheus.Counter
	refused   *prometheus.CounterVec
	failed    atomic.Uint64 // posts that Redis has refused since it last took one
}

// Run serves the Comment API until ctx ends, and returns when all of it has stopped.
func Run(ctx context.Context, cfg Config) error {
	if err := config.Validate(&cfg); err != nil {
		return err
	}
	srv, err := server.New("comment", cfg.Port, cfg.Server)
	if err != nil {
		return err
	}
	redis, err := broker.Open(cfg.Redis, srv.Log)
	if err != nil {
		return err
	}
	defer func() { _ = redis.Close() }()
	a := &api{
		cfg: cfg, log: srv.Log, instance: srv.Instance, broker: redis, counts: newCounts(),
		published: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "livecomments_comments_published_total", Help: "Comments answered 201: stored and published.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "livecomments_comments_refused_total", Help: "Comments not taken, by reason.",
		}, []string{"reason"}),
	}
	// A counter that is not there yet would hide its first event from rate().
	for _, reason := range []string{invalid, unavailable, forbidden} {
		a.refused.WithLabelValues(reason)
	}
	srv.Registry.MustRegister(a.published, a.refused)
	redis.Register(srv.Registry)
	if err := a.route(srv); err != nil {
		return err
	}

	return srv.Run(ctx,
		srv.ReadyAfter("Redis", func(ctx context.Context) error { return redis.Await(ctx, broker.Publishing, srv.NotReady) }),
		func(ctx context.Context) {
			reports.Run(ctx, cfg.Reports, srv.Log, a.report)
		})
}

func (a *api) route(srv *server.Server) error {
	srv.Engine.POST("/comment", a.post)
	srv.Get("/health", a.health)
	if a.cfg.Reports.StatisticsAPIURL == "" {
		srv.Get("/statistics", func(c *gin.Context) {
			server.Fail(c, http.StatusNotFound, "this Comment API knows no Statistics API: its STATISTICS_API_URL is empty")
		})
		return nil
	}
	target, err := url.Parse(a.cfg.Reports.StatisticsAPIURL)
	if err != nil {
		return err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		// The answer is for this API's callers: its own CORS headers stand, not those of the Statistics API beside them.
		ModifyResponse: func(r *http.Response) error {
			for name := range r.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					r.Header.Del(name)
				}
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				w.WriteHeader(server.StatusClientClosedRequest)
				return
			}
			a.log.Warn("the Statistics API does not answer", zap.Error(err))
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusBadGateway)
			_, _ = w.Write([]byte(`{"error":"the Statistics API does not answer"}` + "\n"))
		},
	}
	srv.Get("/statistics", gin.WrapH(proxy))
	return nil
}

func (a *api) post(c *gin.Context) {
	// Only the three fields are the viewer's to set.
	var body struct {
		UserID  string `json:"userid"`
		VideoID string `json:"videoid"`
		Text    string `json:"comment"`
	}
	if !server.ReadJSON(c, &body) {
		a.refused.WithLabelValues(invalid).Inc()
		return
	}
	posted := comment.Comment{UserID: body.UserID, VideoID: body.VideoID, Text: body.Text, Timestamp: time.Now().UTC().Truncate(time.Millisecond)}
	if err := posted.Validate(); err != nil {
		a.refused.WithLabelValues(invalid).Inc()
		server.Fail(c, http.StatusBadRequest, "%s", err)
		return
	}
	// A viewer who leaves before the answer has posted all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request.Context()), a.cfg.PublishTimeout)
	defer cancel()
	stored, err := a.broker.Publish(ctx, posted)
	if err != nil {
		a.refused.WithLabelValues(refusal(err)).Inc()
		if a.failed.Add(1) == 1 {
			a.log.Warn("Redis does not take comments", zap.String("video", posted.VideoID), zap.Error(err))
		}
		c.Header("Retry-After", "1")
		server.Fail(c, http.StatusServiceUnavailable, "the comment was not published because Redis did not take it; try again")
		return
	}
	if n := a.failed.Swap(0); n > 0 {
		a.log.Info("Redis takes comments again", zap.Uint64("refusedMeanwhile", n))
	}
	a.published.Inc()
	a.counts.add(stored.VideoID)
	server.JSON(c, http.StatusCreated, struct {
		Success bool            `json:"success"`
		Comment comment.Comment `json:"comment"`
	}{true, stored})
}

// The reasons for which comments are not taken, as the metric names them.
const (
	invalid     = "invalid"
	unavailable = "unavailable"
	forbidden   = "forbidden"
)

// refusal is the reason for an error of the broker.
func refusal(err error) string {
	if errors.Is(err, broker.ErrForbidden) {
		return forbidden
	}
	return unavailable
}

func (a *api) health(c *gin.Context) {
	server.JSON(c, http.StatusOK, gin.H{"status": "ok", "instance": a.instance, "comments": a.counts.total()})
}

func (a *api) report() []reports.Report {
	report := a.counts.report()
	report.InstanceID = a.instance
	return []reports.Report{&report}
}
