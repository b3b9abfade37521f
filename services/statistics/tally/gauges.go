package tally

import "github.com/prometheus/client_golang/prometheus"

// gauges are the figures that only the whole has.
type gauges struct {
	share, topics, copies, readers, viewers, verification, duplicates *prometheus.Desc
}

func newGauges() gauges {
	return gauges{
		share: prometheus.NewDesc("livecomments_subscription_share",
			"A reader's topics ÷ all topics that a reader is subscribed to, 0 to 1. Readers of one INSTANCE_ID have the number of their process after it.", []string{"reader"}, nil),
		topics: prometheus.NewDesc("livecomments_active_topics",
			"Videos that at least one reader is subscribed to.", nil, nil),
		copies: prometheus.NewDesc("livecomments_copies_per_comment",
			"Messages that readers received ÷ comments published, over the rate window.", nil, nil),
		readers: prometheus.NewDesc("livecomments_readers",
			"Readers that report.", nil, nil),
		viewers: prometheus.NewDesc("livecomments_viewers",
			"Simulated viewers that report.", nil, nil),
		verification: prometheus.NewDesc("livecomments_viewers_wrong",
			"What simulated viewers found wrong, by kind: missing, duplicates, misordered or corrupt.", []string{"kind"}, nil),
		duplicates: prometheus.NewDesc("livecomments_duplicate_instance_ids",
			"INSTANCE_IDs that several instances of one kind have.", nil, nil),
	}
}

func (g gauges) describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{g.share, g.topics, g.copies, g.readers, g.viewers, g.verification, g.duplicates} {
		descs <- desc
	}
}

func (g gauges) collect(metrics chan<- prometheus.Metric, totals Totals) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for _, reader := range totals.ReaderAPIs.Readers {
		gauge(g.share, reader.SubscriptionShare, reader.label)
	}
	gauge(g.topics, float64(totals.ReaderAPIs.AllSubscribedTopicCount))
	gauge(g.copies, totals.Rates.CopiesPerComment)
	gauge(g.readers, float64(totals.ReaderAPIs.TotalReaders))
	gauge(g.viewers, float64(totals.Viewers.Viewers))
	gauge(g.verification, float64(totals.Viewers.Missing), "missing")
	gauge(g.verification, float64(totals.Viewers.Duplicates), "duplicates")
	gauge(g.verification, float64(totals.Viewers.Misordered), "misordered")
	gauge(g.verification, float64(totals.Viewers.Corrupt), "corrupt")
	gauge(g.duplicates, float64(totals.DuplicateInstanceIDCount))
}
