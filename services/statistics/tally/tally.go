// Package tally adds the parts' reports up to the figures of the whole system.
//
// The counters in reports run since their sender started, and senders come and go. The tally therefore adds up their
// increases, as Prometheus does. What holds at the moment is the sum of the reports that are fresh. Parts do not report
// at the same moments, so each part has a rate over its own reports, and the rates are summed.
package tally

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/livecomments/livecomments/services/shared/reports"
)

// Config says for how long reports count, and of how many.
type Config struct {
	StaleAfter   time.Duration `env:"STALE_AFTER" default:"15s" validate:"min=10ms" help:"A part that has not reported for this long drops out of the totals."`
	Window       time.Duration `name:"rate-window" env:"RATE_WINDOW" default:"30s" validate:"min=1s" help:"Rates and copies per comment are means over this time."`
	MaxInstances int           `env:"MAX_INSTANCES" default:"1000" validate:"min=1,max=100000" help:"How many instances of each kind (Comment API, reader, client) may report at a time; a further one is answered 503."`
}

// Tally holds the latest report of every part. It is safe for concurrent use.
type Tally struct {
	cfg     Config
	now     func() time.Time
	log     *zap.Logger
	seldom  *zap.Logger // logs a line once a minute
	gauges  gauges
	refused *prometheus.CounterVec

	mu       sync.Mutex
	comments *parts[reports.CommentAPI]
	readers  *parts[reports.Reader]
	clients  *parts[reports.Client]
	stored   uint64  // comments, by the reports of all processes that ever reported
	topics   *topics // nil until they were set
}

// topics are the videos that readers are subscribed to.
type topics struct {
	count       int
	subscribers map[string]int64
}

// New makes an empty Tally; now is its clock.
func New(cfg Config, now func() time.Time, log *zap.Logger) *Tally {
	t := &Tally{
		cfg: cfg, now: now, gauges: newGauges(),
		log: log,
		seldom: log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
			return zapcore.NewSamplerWithOptions(core, time.Minute, 1, 0)
		})),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "livecomments_reports_refused_total", Help: "Reports of instances beyond MAX_INSTANCES, by kind: comment, reader or client.",
		}, []string{"kind"}),
		comments: newParts[reports.CommentAPI]("comment", cfg),
		readers:  newParts[reports.Reader]("reader", cfg),
		clients:  newParts[reports.Client]("client", cfg),
	}
	// A counter that is not there yet would hide its first event from rate().
	for _, kind := range []string{"comment", "reader", "client"} {
		t.refused.WithLabelValues(kind)
	}
	return t
}

// TakeComment replaces the report of one instance of the Comment API. Like TakeReader and TakeClient it returns a
// *FullError when MAX_INSTANCES others report already.
func (t *Tally) TakeComment(report reports.CommentAPI) error {
	report.ActiveTopicCount = max(report.ActiveTopicCount, len(report.ActiveTopics), len(report.TopicSubscribers))
	report.CommentedVideos = max(report.CommentedVideos, len(report.CommentsByVideo))
	report.CommentsByVideo = reports.Top(maps.All(report.CommentsByVideo))
	if report.ActiveTopics != nil {
		report.ActiveTopics = capped(report.ActiveTopics)
	}
	if names := slices.Sorted(maps.Keys(report.TopicSubscribers)); len(names) > reports.ListCap {
		for _, name := range names[reports.ListCap:] {
			delete(report.TopicSubscribers, name)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	from := process{report.InstanceID, report.Process}
	grown, err := take(t, t.comments, from, report, counters{published: report.TotalComments})
	if instance := t.comments.find(from); instance != nil {
		instance.videos.add(report.CommentsByVideo, instance.at, t.cfg.Window)
	}
	t.stored += grown.published
	return err
}

// TakeReader replaces the report of one reader.
func (t *Tally) TakeReader(report reports.Reader) error {
	report.SubscribedTopicCount = max(report.SubscribedTopicCount, len(report.SubscribedTopics))
	report.SubscribedTopics = capped(report.SubscribedTopics)
	report.Audiences = reports.Top(maps.All(report.Audiences))
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := take(t, t.readers, process{report.InstanceID, report.Process}, report, counters{
		received: report.MessagesReceived, sent: report.MessagesSent, cpu: uint64(report.CPUSeconds * 1e6),
	})
	return err
}

// TakeClient replaces the report of one client.
func (t *Tally) TakeClient(report reports.Client) error {
	report.SubscribedTopics = capped(report.SubscribedTopics)
	report.Viewers = max(report.Viewers, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	_, err := take(t, t.clients, process{report.ClientID, report.Process}, report, counters{})
	return err
}

// take stores a report among those of its kind. It returns how far the sender's counters have come.
func take[R any](t *Tally, kind *parts[R], from process, report R, now counters) (counters, error) {
	at := t.now()
	kind.forget(at.Add(-t.cfg.StaleAfter))
	grown, duplicate, err := kind.take(from, report, now, at)
	if err != nil {
		t.refused.WithLabelValues(kind.kind).Inc()
		t.seldom.Warn("reports are refused: this is logged once a minute", zap.String("id", from.id), zap.Error(err))
	}
	if duplicate {
		t.log.Warn("several instances have one INSTANCE_ID", zap.String("kind", kind.kind), zap.String("id", from.id))
	}
	return grown, err
}

// SetTopics says how many videos readers are subscribed to, and of some the number of their readers. It comes before what
// reports say of them, and stands until it is set again.
func (t *Tally) SetTopics(count int, subscribers map[string]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.topics = &topics{count, subscribers}
}

// capped is never nil, so that in JSON it is a list.
func capped(list []string) []string {
	return append([]string{}, list[:min(len(list), reports.ListCap)]...)
}

// Totals is everything, at one moment.
func (t *Tally) Totals() Totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.forget()
	totals := Totals{Timestamp: now.UTC(), StoredComments: t.stored}
	totals.CommentAPI = t.commentAPI()
	totals.ReaderAPIs = t.readerAPIs(totals.CommentAPI.ActiveTopicCount)
	totals.Clients, totals.Viewers = t.viewers()
	totals.Rates = t.rates()
	duplicates := slices.Collect(maps.Keys(t.comments.duplicates))
	duplicates = slices.AppendSeq(duplicates, maps.Keys(t.readers.duplicates))
	duplicates = slices.AppendSeq(duplicates, maps.Keys(t.clients.duplicates))
	slices.Sort(duplicates)
	totals.DuplicateInstanceIDs, totals.DuplicateInstanceIDCount = capped(duplicates), len(duplicates)
	return totals
}

// forget drops what was not reported for too long before now, which it returns.
func (t *Tally) forget() (now time.Time) {
	now = t.now()
	limit := now.Add(-t.cfg.StaleAfter)
	t.comments.forget(limit)
	t.readers.forget(limit)
	t.clients.forget(limit)
	return now
}

func (t *Tally) commentAPI() CommentAPI {
	all := CommentAPI{Instances: t.comments.count, CommentsPerSecondByVideo: map[string]float64{}, CommentAPI: reports.CommentAPI{
		CommentsByVideo: map[string]uint64{}, ActiveTopics: []string{}, TopicSubscribers: map[string]int64{},
	}}
	var newest time.Time
	for instance := range t.comments.all() {
		report := instance.report
		all.TotalComments += report.TotalComments
		all.CommentedVideos = max(all.CommentedVideos, report.CommentedVideos)
		for video, comments := range report.CommentsByVideo {
			all.CommentsByVideo[video] += comments
		}
		instance.videos.rates(all.CommentsPerSecondByVideo)
		// All who say something of the topics say it of the one Redis: the newest is the truth.
		says := report.ActiveTopicCount > 0 || report.ActiveTopics != nil || report.TopicSubscribers != nil
		if says && instance.at.After(newest) {
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
	if t.topics != nil {
		all.ActiveTopicCount, all.TopicSubscribers = t.topics.count, t.topics.subscribers
		all.ActiveTopics = slices.AppendSeq([]string{}, maps.Keys(t.topics.subscribers))
		slices.Sort(all.ActiveTopics)
	}
	all.CommentedVideos = max(all.CommentedVideos, len(all.CommentsByVideo))
	all.CommentsByVideo = reports.Top(maps.All(all.CommentsByVideo))
	// Of several instances each has its own list of the videos with the most.
	maps.DeleteFunc(all.CommentsPerSecondByVideo, func(video string, _ float64) bool { _, listed := all.CommentsByVideo[video]; return !listed })
	return all
}

func (t *Tally) readerAPIs(activeTopics int) ReaderAPIs {
	all := ReaderAPIs{TotalReaders: t.readers.count, Readers: []Reader{}}
	topics, complete, most := map[string]struct{}{}, true, 0
	readers := map[uint64]int{} // by OSProcess
	for part := range t.readers.all() {
		report := part.report
		all.TotalActiveConnections += report.ActiveConnections
		all.TotalMessagesSent += report.MessagesSent
		all.TotalMessagesReceived += report.MessagesReceived
		all.TotalSubscriptions += report.SubscribedTopicCount
		all.TotalGaps += report.Gaps
		all.TotalRedirects += report.Redirects
		all.TotalMoved += report.Moved
		all.TotalMisplaced += report.Misplaced
		for _, topic := range report.SubscribedTopics {
			topics[topic] = struct{}{}
		}
		complete = complete && len(report.SubscribedTopics) == report.SubscribedTopicCount
		most = max(most, report.SubscribedTopicCount)
		readers[report.OSProcess]++
		rates := part.counted.rates()
		all.Readers = append(all.Readers, Reader{
			Reader: report, ReceivedPerSecond: rates.received, DeliveriesPerSecond: rates.sent, CPU: rates.cpu,
			ReportedAt: part.at.UTC(), label: t.readers.label(part.process),
		})
	}
	switch {
	case complete:
		all.AllSubscribedTopicCount = max(activeTopics, len(topics))
	case activeTopics > 0:
		// The readers' reports and the number of topics are not of the same moment.
		all.AllSubscribedTopicCount = max(activeTopics, most)
	}
	all.AllSubscribedTopics = capped(slices.Sorted(maps.Keys(topics)))
	for i := range all.Readers {
		if all.AllSubscribedTopicCount > 0 {
			all.Readers[i].SubscriptionShare = float64(all.Readers[i].SubscribedTopicCount) / float64(all.AllSubscribedTopicCount)
		}
		all.Readers[i].Shared = all.Readers[i].OSProcess != 0 && readers[all.Readers[i].OSProcess] > 1
		all.SubscriptionShare.add(all.Readers[i].SubscriptionShare, len(all.Readers))
	}
	slices.SortFunc(all.Readers, func(a, b Reader) int {
		return cmp.Or(cmp.Compare(a.InstanceID, b.InstanceID), cmp.Compare(a.Process, b.Process))
	})
	all.Routing = routing(all.Readers)
	return all
}

// routing is how all readers place viewers; empty where they differ.
func routing(readers []Reader) string {
	if len(readers) == 0 || slices.ContainsFunc(readers, func(r Reader) bool { return r.Routing != readers[0].Routing }) {
		return ""
	}
	return readers[0].Routing
}

func (t *Tally) viewers() ([]Client, Viewers) {
	clients := make([]Client, 0, t.clients.count)
	var all Viewers
	for part := range t.clients.all() {
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
	slices.SortFunc(clients, func(a, b Client) int {
		return cmp.Or(cmp.Compare(a.ClientID, b.ClientID), cmp.Compare(a.Process, b.Process))
	})
	return clients[:min(len(clients), reports.ListCap)], all
}

func (t *Tally) rates() Rates {
	rates := Rates{WindowSeconds: t.cfg.Window.Seconds()}
	for part := range t.comments.all() {
		rates.CommentsPerSecond += part.counted.rates().published
	}
	for part := range t.readers.all() {
		counted := part.counted.rates()
		rates.ReceivedPerSecond += counted.received
		rates.DeliveriesPerSecond += counted.sent
	}
	if rates.CommentsPerSecond > 0 {
		rates.CopiesPerComment = rates.ReceivedPerSecond / rates.CommentsPerSecond
	}
	return rates
}

// Describe and Collect make the Tally a prometheus.Collector of the figures that no part can know alone.
func (t *Tally) Describe(descs chan<- *prometheus.Desc) {
	t.gauges.describe(descs)
	t.refused.Describe(descs)
}

// Collect implements prometheus.Collector.
func (t *Tally) Collect(metrics chan<- prometheus.Metric) {
	t.gauges.collect(metrics, t.Totals())
	t.refused.Collect(metrics)
}
