package fleet

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livecomments/livecomments/services/shared/reports"
)

// report is what goes to the Statistics API: a small fleet reports each viewer, a large one their sum.
func (f *fleet) report() []reports.Report {
	if len(f.viewers) > individual {
		total := f.total()
		return []reports.Report{&total}
	}
	all := make([]reports.Report, len(f.viewers))
	for i, m := range f.viewers {
		one := m.report()
		all[i] = &one
	}
	return all
}

func (m *member) report() reports.Client {
	counts := m.Account.Counts()
	counts.FailedPosts = m.failed.Load()
	times := m.Account.Times()
	report := reports.Client{
		ClientID: m.name, UserID: m.UserID, VideoID: m.VideoID, SubscribedTopics: []string{m.VideoID},
		CommentsGenerated: m.generated.Load(), CommentsConsumed: counts.Consumed, ConnectedReader: m.Reader(),
		Viewers: 1, Verification: counts.Verification,
		LatencyMillis: times.Latency, FirstEventMillis: times.FirstEvent, OutageMillis: times.Outage,
	}
	if m.Connected() {
		report.Connected = 1
	}
	return report
}

// total is the report of the fleet as one client.
func (f *fleet) total() reports.Client {
	times := f.ledger.Times()
	total := reports.Client{ClientID: f.name, LatencyMillis: times.Latency, FirstEventMillis: times.FirstEvent, OutageMillis: times.Outage}
	videos := map[string]struct{}{}
	for _, m := range f.viewers {
		one := m.report()
		total.Viewers++
		total.Connected += one.Connected
		total.CommentsGenerated += one.CommentsGenerated
		total.CommentsConsumed += one.CommentsConsumed
		total.Add(one.Verification)
		if _, known := videos[m.VideoID]; !known && len(videos) < reports.ListCap {
			videos[m.VideoID] = struct{}{}
			total.SubscribedTopics = append(total.SubscribedTopics, m.VideoID)
		}
	}
	slices.Sort(total.SubscribedTopics)
	return total
}

// metrics makes the fleet's report a prometheus.Collector.
type metrics struct {
	fleet                       *fleet
	viewers, connected          *prometheus.Desc
	posted, arrived, wrong      *prometheus.Desc
	latency, firstEvent, outage *prometheus.Desc
}

func newMetrics(f *fleet) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("livecomments_client_"+name, help, labels, nil)
	}
	return &metrics{
		fleet:      f,
		viewers:    desc("viewers", "Simulated viewers."),
		connected:  desc("connected", "Simulated viewers that have a stream."),
		posted:     desc("posted_total", "Comments answered 201."),
		arrived:    desc("arrived_total", "Comments that arrived at viewers, duplicates apart."),
		wrong:      desc("wrong", "Comments found wrong, by kind: missing, duplicates, misordered, corrupt or pending.", "kind"),
		latency:    desc("latency_seconds", "Time from the post to the arrival, by quantile, since the start.", "quantile"),
		firstEvent: desc("first_event_seconds", "Time from a viewer's request for a stream to the stream's first event, by quantile, since the start.", "quantile"),
		outage:     desc("outage_seconds", "Time from the end of a viewer's stream to the first event of its next, by quantile, since the start.", "quantile"),
	}
}

func (m *metrics) Describe(descs chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, descs) }

func (m *metrics) Collect(out chan<- prometheus.Metric) {
	total := m.fleet.total()
	emit := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
	}
	emit(m.viewers, prometheus.GaugeValue, float64(total.Viewers))
	emit(m.connected, prometheus.GaugeValue, float64(total.Connected))
	emit(m.posted, prometheus.CounterValue, float64(total.CommentsGenerated))
	emit(m.arrived, prometheus.CounterValue, float64(total.CommentsConsumed))
	emit(m.wrong, prometheus.GaugeValue, float64(total.Missing), "missing")
	emit(m.wrong, prometheus.GaugeValue, float64(total.Duplicates), "duplicates")
	emit(m.wrong, prometheus.GaugeValue, float64(total.Misordered), "misordered")
	emit(m.wrong, prometheus.GaugeValue, float64(total.Corrupt), "corrupt")
	emit(m.wrong, prometheus.GaugeValue, float64(total.Pending), "pending")
	quantiles := func(desc *prometheus.Desc, millis reports.Latency) {
		emit(desc, prometheus.GaugeValue, millis.P50/1000, "0.5")
		emit(desc, prometheus.GaugeValue, millis.P99/1000, "0.99")
		emit(desc, prometheus.GaugeValue, millis.Max/1000, "1")
	}
	quantiles(m.latency, total.LatencyMillis)
	quantiles(m.firstEvent, total.FirstEventMillis)
	quantiles(m.outage, total.OutageMillis)
}
