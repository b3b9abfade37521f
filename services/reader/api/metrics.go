package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/livecomments/livecomments/services/reader/fanout"
)

type metrics struct {
	figures []prometheus.Collector
	refused *prometheus.CounterVec
	ended   map[fanout.Reason]prometheus.Counter
}

func newMetrics(a *api) *metrics {
	gauge := func(name, help string, read func(fanout.Stats) int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "livecomments_reader_" + name, Help: help},
			func() float64 { return float64(read(a.engine.Stats())) })
	}
	counter := func(name, help string, read func(fanout.Stats) uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "livecomments_reader_" + name, Help: help},
			func() float64 { return float64(read(a.engine.Stats())) })
	}
	m := &metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "livecomments_reader_streams_refused_total", Help: "Streams answered 503, by reason: full, draining or redis.",
		}, []string{"reason"}),
		ended: map[fanout.Reason]prometheus.Counter{},
	}
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "livecomments_reader_streams_ended_total", Help: "Streams that ended, by reason: left, lost, slow, lifetime, moved or drain.",
	}, []string{"reason"})
	// A counter that is not there yet would hide its first event from rate().
	for _, r := range refusals {
		m.refused.WithLabelValues(r.reason)
	}
	for _, reason := range fanout.Reasons {
		m.ended[reason] = ended.WithLabelValues(string(reason))
	}
	m.figures = []prometheus.Collector{
		m.refused, ended,
		gauge("connections", "Open streams.", func(s fanout.Stats) int64 { return s.Open }),
		gauge("max_connections", "Streams that this reader holds at the most.", func(fanout.Stats) int64 { return a.cfg.MaxConnections }),
		gauge("waiting_connections", "Open streams whose viewers are behind: their sockets take no more for now.", func(s fanout.Stats) int64 { return s.Waiting }),
		counter("messages_sent_total", "Comments written to viewers.", func(s fanout.Stats) uint64 { return s.Comments }),
		counter("writes_total", "System calls that wrote to viewers; one may carry many comments.", func(s fanout.Stats) uint64 { return s.Writes }),
		counter("gaps_total", "Times that a viewer was told of comments it cannot be given.", func(s fanout.Stats) uint64 { return s.Gaps }),
	}
	return m
}

func (m *metrics) register(registry *prometheus.Registry) { registry.MustRegister(m.figures...) }
