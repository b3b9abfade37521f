package api

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	connections prometheus.GaugeFunc
	sent, gaps  prometheus.CounterFunc
	refused     *prometheus.CounterVec
	ended       *prometheus.CounterVec
}

func newMetrics(a *api) *metrics {
	return &metrics{
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
}

func (m *metrics) register(registry *prometheus.Registry) {
	registry.MustRegister(m.connections, m.sent, m.gaps, m.refused, m.ended)
}
