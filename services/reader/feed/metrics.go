package feed

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livecomments/livecomments/services/shared/broker"
)

type metrics struct {
	total     atomic.Uint64
	messages  prometheus.CounterFunc
	lag       prometheus.Histogram
	connected prometheus.Gauge
	topics    prometheus.GaugeFunc
	holes     *prometheus.CounterVec
	ignored   prometheus.Counter
	malformed prometheus.CounterFunc
	// Videos that may miss comments for now are in at least one of these.
	unconfirmed, catching prometheus.GaugeFunc
}

func newMetrics(f *Feed) *metrics {
	m := &metrics{}
	m.messages = prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "livecomments_reader_messages_received_total",
		Help: "Messages that Redis delivered to this reader, and comments that it filled in from the history.",
	}, func() float64 { return float64(m.total.Load()) })
	m.lag = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "livecomments_reader_receive_lag_seconds",
		Help:    "Time from a comment's id, by Redis' clock, to its arrival here, by this host's.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	})
	m.connected = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "livecomments_reader_redis_connected",
		Help: "1 while comments of every video are received from Redis, 0 while a connection for them is interrupted.",
	})
	m.topics = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "livecomments_reader_subscribed_topics",
		Help: "Videos that this reader is subscribed to.",
	}, func() float64 { count, _ := f.Topics(0); return float64(count) })
	m.unconfirmed = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "livecomments_reader_unconfirmed_topics",
		Help: "Videos whose subscription Redis has not confirmed, since their first viewer came or their connection to Redis broke: they receive nothing for now.",
	}, func() float64 { return float64(f.subscription.Unconfirmed()) })
	m.catching = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "livecomments_reader_catching_up_topics",
		Help: "Videos whose history is being read, since Redis confirmed their subscription or a hole was seen: their viewers wait for what they missed.",
	}, func() float64 { return float64(f.catching.Load()) })
	m.holes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "livecomments_reader_holes_total",
		Help: "Times that Redis had not delivered a message though it was connected, by how that was seen: by the predecessor that the next one names, or by a check of the history.",
	}, []string{"seen"})
	for _, how := range []string{"predecessor", "check"} {
		m.holes.WithLabelValues(how)
	}
	m.ignored = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "livecomments_reader_messages_ignored_total",
		Help: "Messages that were passed over because this version does not know their kind.",
	})
	m.malformed = prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "livecomments_reader_messages_malformed_total",
		Help: "Messages that were passed over because they are malformed, or of another version.",
	}, func() float64 { return float64(f.subscription.Malformed()) })
	return m
}

func (m *metrics) received(message broker.Message) {
	m.total.Add(1)
	m.lag.Observe(max(0, time.Since(message.ID.Time()).Seconds()))
	if message.Kind != broker.Comment {
		m.ignored.Inc()
	}
}

// Register makes the feed's figures part of registry.
func (f *Feed) Register(registry *prometheus.Registry) {
	m := f.metrics
	registry.MustRegister(m.messages, m.lag, m.connected, m.topics, m.unconfirmed, m.catching, m.holes, m.ignored, m.malformed)
}
