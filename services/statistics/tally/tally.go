// Package tally adds the parts' reports up to the figures of the whole system.
//
// The counters in reports run since their sender started, and senders come and go. What the tally adds up over time it
// therefore takes from their increases, as Prometheus does; what is so at the moment, from the reports that are fresh. Parts
// do not report at the same moments, so a rate is taken for each over its own reports, and then summed.
package tally

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/livecomments/livecomments/services/shared/reports"
)

// Config says for how long reports count.
type Config struct {
	StaleAfter time.Duration `env:"STALE_AFTER" default:"15s" validate:"min=10ms" help:"A part that has not reported for this long drops out of the totals."`
	Window     time.Duration `name:"rate-window" env:"RATE_WINDOW" default:"30s" validate:"min=1s" help:"Rates and copies per comment are means over this time."`
}

// Tally holds the latest report of every part. It is safe for concurrent use.
type Tally struct {
	cfg Config
	now func() time.Time

	mu       sync.Mutex
	comments map[string]fresh[reports.CommentAPI]
	readers  map[string]fresh[reports.Reader]
	clients  map[string]fresh[reports.Client]
	counted  map[string]*series // by part, also when it has gone
	gauges   gauges
}

type fresh[R any] struct {
	report R
	at     time.Time
}

// New makes an empty Tally; now is its clock.
func New(cfg Config, now func() time.Time) *Tally {
	return &Tally{
		cfg: cfg, now: now, gauges: newGauges(),
		comments: map[string]fresh[reports.CommentAPI]{},
		readers:  map[string]fresh[reports.Reader]{},
		clients:  map[string]fresh[reports.Client]{},
		counted:  map[string]*series{},
	}
}

// TakeComment replaces the report of one instance of the Comment API.
func (t *Tally) TakeComment(report reports.CommentAPI) {
	report.ActiveTopicCount = max(report.ActiveTopicCount, len(report.ActiveTopics), len(report.TopicSubscribers))
	report.CommentedVideos = max(report.CommentedVideos, len(report.CommentsByVideo))
	report.ActiveTopics = capped(report.ActiveTopics)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count("comment "+report.InstanceID, counters{published: report.TotalComments})
	t.comments[report.InstanceID] = fresh[reports.CommentAPI]{report, t.now()}
	t.forget()
}

// TakeReader replaces the report of one reader.
func (t *Tally) TakeReader(report reports.Reader) {
	report.SubscribedTopicCount = max(report.SubscribedTopicCount, len(report.SubscribedTopics))
	report.SubscribedTopics = capped(report.SubscribedTopics)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count("reader "+report.InstanceID, counters{received: report.MessagesReceived, sent: report.MessagesSent})
	t.readers[report.InstanceID] = fresh[reports.Reader]{report, t.now()}
	t.forget()
}

// TakeClient replaces the report of one client.
func (t *Tally) TakeClient(report reports.Client) {
	report.SubscribedTopics = capped(report.SubscribedTopics)
	report.Viewers = max(report.Viewers, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clients[report.ClientID] = fresh[reports.Client]{report, t.now()}
	t.forget()
}

// capped is never nil, so that in JSON it is a list.
func capped(list []string) []string {
	return append([]string{}, list[:min(len(list), reports.ListCap)]...)
}

// count adds a report to its part's series.
func (t *Tally) count(part string, now counters) {
	if t.counted[part] == nil {
		t.counted[part] = &series{}
	}
	t.counted[part].add(now, t.now(), t.cfg.Window)
}

// forget drops the parts that have stopped reporting.
func (t *Tally) forget() {
	limit := t.now().Add(-t.cfg.StaleAfter)
	drop(t.comments, limit)
	drop(t.readers, limit)
	drop(t.clients, limit)
	for part, series := range t.counted {
		// A reader's counters are of use only for its rates; what a Comment API has stored stays stored.
		if series.forget(limit) && series.sum.published == 0 {
			delete(t.counted, part)
		}
	}
}

func drop[R any](parts map[string]fresh[R], limit time.Time) {
	maps.DeleteFunc(parts, func(_ string, part fresh[R]) bool { return part.at.Before(limit) })
}

// Totals is everything, at one moment.
func (t *Tally) Totals() Totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
	totals := Totals{Timestamp: t.now().UTC(), StoredComments: t.stored()}
	totals.CommentAPI = t.commentAPI()
	totals.ReaderAPIs = t.readerAPIs(totals.CommentAPI.ActiveTopicCount)
	totals.Clients, totals.Viewers = t.viewers()
	totals.Rates = t.rates()
	return totals
}

func (t *Tally) commentAPI() CommentAPI {
	all := CommentAPI{Instances: len(t.comments), CommentAPI: reports.CommentAPI{
		CommentsByVideo: map[string]uint64{}, ActiveTopics: []string{}, TopicSubscribers: map[string]int64{},
	}}
	var newest time.Time
	for _, instance := range t.comments {
		report := instance.report
		all.TotalComments += report.TotalComments
		all.CommentedVideos = max(all.CommentedVideos, report.CommentedVideos)
		for video, comments := range report.CommentsByVideo {
			all.CommentsByVideo[video] += comments
		}
		// Every instance reports the topics of the one Redis: the newest is the truth.
		if instance.at.After(newest) {
			newest = instance.at
			all.ActiveTopicCount = report.ActiveTopicCount
			if report.ActiveTopics != nil {
				all.ActiveTopics = report.ActiveTopics
			}
			if report.TopicSubscribers != nil {
				all.TopicSubscribers = report.TopicSubscribers
			}
		}
	}
	all.CommentedVideos = max(all.CommentedVideos, len(all.CommentsByVideo))
	all.CommentsByVideo = reports.Top(maps.All(all.CommentsByVideo))
	return all
}

func (t *Tally) readerAPIs(activeTopics int) ReaderAPIs {
	all := ReaderAPIs{TotalReaders: len(t.readers), Readers: []Reader{}}
	topics, complete, most := map[string]struct{}{}, true, 0
	for _, part := range t.readers {
		report := part.report
		all.TotalActiveConnections += report.ActiveConnections
		all.TotalMessagesSent += report.MessagesSent
		all.TotalMessagesReceived += report.MessagesReceived
		all.TotalSubscriptions += report.SubscribedTopicCount
		all.TotalGaps += report.Gaps
		for _, topic := range report.SubscribedTopics {
			topics[topic] = struct{}{}
		}
		complete = complete && len(report.SubscribedTopics) == report.SubscribedTopicCount
		most = max(most, report.SubscribedTopicCount)
		all.Readers = append(all.Readers, Reader{Reader: report, ReportedAt: part.at.UTC()})
	}
	switch {
	case complete:
		all.AllSubscribedTopicCount = max(activeTopics, len(topics))
	case activeTopics > 0:
		// The readers' reports and that of the topics are not of the same moment.
		all.AllSubscribedTopicCount = max(activeTopics, most)
	}
	all.AllSubscribedTopics = capped(slices.Sorted(maps.Keys(topics)))
	for i := range all.Readers {
		if all.AllSubscribedTopicCount > 0 {
			all.Readers[i].SubscriptionShare = float64(all.Readers[i].SubscribedTopicCount) / float64(all.AllSubscribedTopicCount)
		}
		all.SubscriptionShare.add(all.Readers[i].SubscriptionShare, len(all.Readers))
	}
	slices.SortFunc(all.Readers, func(a, b Reader) int { return cmp.Compare(a.InstanceID, b.InstanceID) })
	return all
}

func (t *Tally) viewers() ([]Client, Viewers) {
	clients := make([]Client, 0, len(t.clients))
	var all Viewers
	for _, part := range t.clients {
		report := part.report
		clients = append(clients, Client{Client: report, ReportedAt: part.at.UTC()})
		all.Clients++
		all.Viewers += report.Viewers
		all.Connected += report.Connected
		all.CommentsGenerated += report.CommentsGenerated
		all.CommentsConsumed += report.CommentsConsumed
		all.Add(report.Verification)
		// Percentiles of several distributions cannot be added; the worst client is what an operator wants to see.
		all.LatencyMillis.P50 = max(all.LatencyMillis.P50, report.LatencyMillis.P50)
		all.LatencyMillis.P99 = max(all.LatencyMillis.P99, report.LatencyMillis.P99)
		all.LatencyMillis.Max = max(all.LatencyMillis.Max, report.LatencyMillis.Max)
		all.LatencyMillis.Count += report.LatencyMillis.Count
	}
	slices.SortFunc(clients, func(a, b Client) int { return cmp.Compare(a.ClientID, b.ClientID) })
	return clients[:min(len(clients), reports.ListCap)], all
}

func (t *Tally) stored() (comments uint64) {
	for _, series := range t.counted {
		comments += series.sum.published
	}
	return comments
}

func (t *Tally) rates() Rates {
	rates := Rates{WindowSeconds: t.cfg.Window.Seconds()}
	for _, series := range t.counted {
		published, received, sent := series.rates()
		rates.CommentsPerSecond += published
		rates.ReceivedPerSecond += received
		rates.DeliveriesPerSecond += sent
	}
	if rates.CommentsPerSecond > 0 {
		rates.CopiesPerComment = rates.ReceivedPerSecond / rates.CommentsPerSecond
	}
	return rates
}

// Describe and Collect make the Tally a prometheus.Collector of the figures that no part can know alone.
func (t *Tally) Describe(descs chan<- *prometheus.Desc) { t.gauges.describe(descs) }

// Collect implements prometheus.Collector.
func (t *Tally) Collect(metrics chan<- prometheus.Metric) { t.gauges.collect(metrics, t.Totals()) }
