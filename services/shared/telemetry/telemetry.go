// Package telemetry builds what a service tells its operators with: a structured log and a metrics registry.
package telemetry

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"
)

// Config says how a service logs.
type Config struct {
	LogLevel  string `env:"LOG_LEVEL" default:"info" validate:"oneof=debug info warn error" help:"Least severe level that is logged: debug, info, warn or error."`
	LogFormat string `env:"LOG_FORMAT" default:"json" validate:"oneof=json console" help:"json for machines, console for people."`
}

// NewLogger builds the log of one instance of a service; it writes to standard error.
func NewLogger(cfg Config, service, instance string) (*zap.Logger, error) {
	level, err := zap.ParseAtomicLevel(cfg.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("LOG_LEVEL: %w", err)
	}
	options := zap.NewProductionConfig()
	if cfg.LogFormat == "console" {
		options = zap.NewDevelopmentConfig()
		options.DisableStacktrace = true
	} else {
		options.EncoderConfig.TimeKey = "time"
		options.EncoderConfig.EncodeTime = zap.NewDevelopmentEncoderConfig().EncodeTime
	}
	options.Level = level
	options.DisableCaller = true
	log, err := options.Build()
	if err != nil {
		return nil, err
	}
	return log.With(zap.String("service", service), zap.String("instance", instance)), nil
}

// NewRegistry is a registry of its own for one service, because the lab runs several in one process. It holds the
// figures of the Go runtime and of the process.
func NewRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// Count is how far a counter of whole things has come, so that what is reported elsewhere is what /metrics says.
func Count(counter prometheus.Counter) uint64 {
	var value dto.Metric
	if err := counter.Write(&value); err != nil {
		panic(err) // only for a metric of another kind
	}
	return uint64(value.GetCounter().GetValue())
}
