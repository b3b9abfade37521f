package reports

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"
)

// Port is where the Statistics API takes reports by default.
const Port = "5001"

// Config says where and how often a part reports.
type Config struct {
	StatisticsAPIURL string        `name:"statistics-api-url" env:"STATISTICS_API_URL" default:"http://localhost:5000" validate:"omitempty,http_url" help:"The Statistics API; empty to report nothing."`
	URL              string        `name:"report-url" env:"REPORT_URL" validate:"omitempty,http_url" help:"Where the Statistics API takes reports. Default: port 5001 of the host in STATISTICS_API_URL."`
	Interval         time.Duration `name:"report-interval" env:"REPORT_INTERVAL" default:"2s" validate:"min=100ms" help:"How often to report."`
}

// target is the URL that reports of a path are posted to.
func (c Config) target(path string) (string, error) {
	if c.URL != "" {
		return url.JoinPath(c.URL, path)
	}
	api, err := url.Parse(c.StatisticsAPIURL)
	if err != nil {
		return "", err
	}
	return (&url.URL{Scheme: api.Scheme, User: api.User, Host: net.JoinHostPort(api.Hostname(), Port), Path: path}).String(), nil
}

// Run sends what collect returns to the Statistics API at once, at every interval, and once more when ctx has ended. All
// reports of a Run have one process number. The system does not need them to run: a failure is logged once, until the
// next success, and costs nothing else.
func Run(ctx context.Context, cfg Config, log *zap.Logger, collect func() []Report) {
	if cfg.StatisticsAPIURL == "" {
		return
	}
	process := 1 + rand.Uint64N(1<<53-1)
	ticker := time.NewTicker(cfg.Interval)
	defer ticker.Stop()
	failing := false
	for {
		err := send(ctx, cfg, process, collect())
		if err != nil && !failing && ctx.Err() == nil {
			log.Warn("reports are not being taken", zap.Error(err))
		} else if err == nil && failing {
			log.Info("reports are being taken again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := send(last, cfg, process, collect()); err != nil && !failing {
				log.Warn("the last reports were not taken", zap.Error(err))
			}
			return
		case <-ticker.C:
		}
	}
}

// send posts reports one after the other.
func send(ctx context.Context, cfg Config, process uint64, reports []Report) error {
	for _, report := range reports {
		report.sentBy(process)
		body, err := json.Marshal(report)
		if err != nil {
			return err
		}
		target, err := cfg.target(report.Path())
		if err != nil {
			return err
		}
		if err := post(ctx, target, body); err != nil {
			return err
		}
	}
	return nil
}

func post(ctx context.Context, target string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	// Reports are seldom and small: a connection each leaves none open behind.
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if answer, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)); response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %s", target, response.Status, answer)
	}
	return nil
}
