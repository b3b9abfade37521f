package router

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/livecomments/livecomments/services/shared/telemetry"
)

// arrival is how a viewer has come that is taken here.
type arrival string

const (
	here   arrival = "here"   // it belongs here and came by itself
	placed arrival = "placed" // another reader has sent it
	kept   arrival = "kept"   // it belongs to a reader that does not answer
	stray  arrival = "stray"  // it was sent to another reader, at whose address this one is
	// unplaced came through a gateway that could not find out where the viewer belongs.
	unplaced arrival = "unplaced"
)

// reason is why a viewer is sent to another reader.
type reason string

const (
	elsewhere reason = "elsewhere" // it belongs there
	departing reason = "leaving"   // this reader drains, or viewers cannot reach it
)

type metrics struct {
	figures   []prometheus.Collector
	arrivals  map[arrival]prometheus.Counter
	redirects map[reason]prometheus.Counter
}

func newMetrics(r *Router) *metrics {
	arrivals := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "livecomments_reader_arrivals_total",
		Help: "Viewers that were placed on this reader, by how they came: here (they belong here and asked here first), placed (another reader has sent them), kept (they belong to a reader that does not answer), stray (they were sent to another reader, whose ADVERTISE_URL leads here, or which did not take them from the gateway), unplaced (the gateway found no reader that says where they belong).",
	}, []string{"how"})
	redirects := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "livecomments_reader_redirects_total",
		Help: "Viewers that this reader has sent to another one, or told a gateway to, by reason: elsewhere (they belong there), leaving (this reader drains, or cannot be reached).",
	}, []string{"reason"})
	m := &metrics{arrivals: map[arrival]prometheus.Counter{}, redirects: map[reason]prometheus.Counter{}}
	for _, how := range []arrival{here, placed, kept, stray, unplaced} {
		m.arrivals[how] = arrivals.WithLabelValues(string(how))
	}
	for _, why := range []reason{elsewhere, departing} {
		m.redirects[why] = redirects.WithLabelValues(string(why))
	}
	m.figures = []prometheus.Collector{arrivals, redirects, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "livecomments_reader_misplaced_streams",
		Help: "Streams here that belong to another reader. They are moved at MOVE_RATE; 0 on all readers says that the fleet has settled.",
	}, func() float64 { return float64(r.Misplaced()) })}
	return m
}

func (m *metrics) register(registry *prometheus.Registry) { registry.MustRegister(m.figures...) }

// Redirects counts the viewers that were sent to other readers.
func (r *Router) Redirects() (viewers uint64) {
	for _, counter := range r.metrics.redirects {
		viewers += telemetry.Count(counter)
	}
	return viewers
}

// Placed counts the viewers that other readers have sent here.
func (r *Router) Placed() uint64 { return telemetry.Count(r.metrics.arrivals[placed]) }

// Kept counts the viewers that stayed because the reader that they belong to did not answer.
func (r *Router) Kept() uint64 { return telemetry.Count(r.metrics.arrivals[kept]) }

// Unplaced counts the viewers that came through a gateway which found no reader to ask.
func (r *Router) Unplaced() uint64 { return telemetry.Count(r.metrics.arrivals[unplaced]) }
