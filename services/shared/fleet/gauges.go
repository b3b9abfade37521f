package fleet

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// gauges are what the operators see of the fleet.
type gauges struct {
	failures                       prometheus.Counter
	readers, unreachable, sentHere prometheus.Gauge
	conflicts                      *prometheus.GaugeVec
}

func newGauges() gauges {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "livecomments_reader_" + name, Help: help})
	}
	g := gauges{
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "livecomments_reader_fleet_failures_total", Help: "Times that the list of readers could not be written and read.",
		}),
		readers:     gauge("fleet_readers", "Readers in the fleet as this one sees it, itself included."),
		unreachable: gauge("unreachable", "1 while nobody is sent to this reader, because none of those who were sent has come: its ADVERTISE_URL is wrong. Else 0."),
		sentHere:    gauge("sent_here", "Viewers that other readers have sent to this one since it started. What livecomments_reader_arrivals_total{how=\"placed\"} lacks of it has never come."),
		conflicts: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "livecomments_reader_fleet_conflicts", Help: "1 while another reader has the same instance (INSTANCE_ID) or address (ADVERTISE_URL) as this one, else 0.",
		}, []string{"of"}),
	}
	g.conflicts.WithLabelValues("instance")
	g.conflicts.WithLabelValues("address")
	return g
}

func (g *gauges) set(view *View, c *conflicts, unreachable bool) {
	g.readers.Set(float64(len(view.Members)))
	g.sentHere.Set(float64(view.SentHere))
	g.unreachable.Set(truth(unreachable))
	g.conflicts.WithLabelValues("instance").Set(truth(c.instance.counts()))
	g.conflicts.WithLabelValues("address").Set(truth(c.address.counts()))
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func (g *gauges) register(registry *prometheus.Registry, f *Fleet) {
	registry.MustRegister(g.failures, g.readers, g.unreachable, g.sentHere, g.conflicts, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "livecomments_reader_fleet_age_seconds", Help: "Time since the list of readers was last read. It grows while Redis is away.",
	}, func() float64 {
		if view := f.View(); view != nil {
			return time.Since(view.Read).Seconds()
		}
		return 0
	}))
}
