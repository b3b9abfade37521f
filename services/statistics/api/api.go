// Package api is the Statistics API: it takes the parts' reports and serves what they add up to.
package api

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-playground/validator/v10"

	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/statistics/tally"
)

// Config is everything that the Statistics API can be told.
type Config struct {
	Port   int           `env:"PORT" default:"5000" validate:"min=1,max=65535" help:"Port of the HTTP API."`
	Tally  tally.Config  `embed:""`
	Server server.Config `embed:""`
}

type api struct {
	instance string
	tally    *tally.Tally
}

// Run serves the Statistics API until ctx ends, and returns when all of it has stopped.
func Run(ctx context.Context, cfg Config) error {
	if err := config.Validate(&cfg); err != nil {
		return err
	}
	srv, err := server.New("statistics", cfg.Port, cfg.Server)
	if err != nil {
		return err
	}
	a := &api{instance: srv.Instance, tally: tally.New(cfg.Tally, time.Now)}
	srv.Registry.MustRegister(a.tally)
	srv.Get("/statistics", func(c *gin.Context) { server.JSON(c, http.StatusOK, a.tally.Totals()) })
	srv.Get("/health", func(c *gin.Context) { server.JSON(c, http.StatusOK, gin.H{"status": "ok", "instance": a.instance}) })
	srv.Engine.POST(reports.CommentPath, take("", nil, a.tally.TakeComment))
	srv.Engine.POST(reports.ReaderPath, take("instanceId", func(r *reports.Reader) string { return r.InstanceID }, a.tally.TakeReader))
	srv.Engine.POST(reports.ClientPath, take("clientId", func(r *reports.Client) string { return r.ClientID }, a.tally.TakeClient))
	srv.Ready()
	return srv.Run(ctx)
}

// bounds checks the `validate` tags of reports, and calls their fields by their names in JSON.
var bounds = func() *validator.Validate {
	v := validator.New()
	v.RegisterTagNameFunc(func(field reflect.StructField) string { return field.Tag.Get("json") })
	return v
}()

// take is the handler of one kind of report; where id is not nil, a report must have the field of that name.
func take[R any](name string, id func(*R) string, store func(R)) gin.HandlerFunc {
	return func(c *gin.Context) {
		// Parts of the system send no Origin; the pages that browsers show do, and have nothing to report.
		if c.GetHeader("Origin") != "" {
			server.Fail(c, http.StatusForbidden, "reports are not taken from web pages")
			return
		}
		var report R
		if !server.ReadJSON(c, &report) {
			return
		}
		if id != nil && strings.TrimSpace(id(&report)) == "" {
			server.Fail(c, http.StatusBadRequest, "%s is required", name)
			return
		}
		var broken validator.ValidationErrors
		if errors.As(bounds.Struct(report), &broken) {
			server.Fail(c, http.StatusBadRequest, "%s must be at least %s", broken[0].Field(), broken[0].Param())
			return
		}
		store(report)
		server.JSON(c, http.StatusOK, gin.H{"success": true})
	}
}
