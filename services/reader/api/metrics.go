package api

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connections prometheus.GaugeFunc
	capacity    prometheus.Gauge
	sent, gaps  prometheus.CounterFunc
	refused     *prometheus.CounterVec
	ended       *prometheus.CounterVec
}

func newMetrics(a *api) *metrics {
	m := &metrics{
		capacity: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "livecomments_reader_max_connections", Help: "Streams that this reader holds at the most.",
		}),
		connections: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "livecomments_reader_connections", Help: "Open streams.",
		}, func() float64 { return float64(a.connections.Load()) }),
		sent: prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "livecomments_reader_messages_sent_total", Help: "Comments written to viewers.",
		}, func() float64 { return float64(a.sent.Load()) }),
		gaps: prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "livecomments_reader_gaps_total", Help: "Times that a viewer was told of comments it cannot be given.",
		}, func() float64 { return float64(a.gaps.Load()) }),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "livecomments_reader_streams_refused_total", Help: "Streams answered 503, by reason: full, draining or redis.",
		}, []string{"reason"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "livecomments_reader_streams_ended_total", Help: "Streams that ended, by reason: left, slow, lifetime or drain.",
		}, []string{"reason"}),
	}
	m.capacity.Set(float64(a.cfg.MaxConnections))
	// A counter that is not there yet would hide its first event from rate().
	for _, reason := range []string{"full", "draining", "redis"} {
		m.refused.WithLabelValues(reason)
	}
	for _, reason := range []string{"left", "slow", "lifetime", "drain"} {
		m.ended.WithLabelValues(reason)
	}
	return m
}

func (m *metrics) register(registry *prometheus.Registry) {
	registry.MustRegister(m.connections, m.capacity, m.sent, m.gaps, m.refused, m.ended)
}
