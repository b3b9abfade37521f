// Package reports is what the parts tell the Statistics API about themselves, and how they send it.
package reports

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// ListCap bounds every list and map in a report: 90,000 topics a reader do not belong in JSON. Beside each stands an exact count.
const ListCap = 100

// Top is the ListCap largest of counts; of equal ones, those whose names come first.
func Top(counts iter.Seq2[string, uint64]) map[string]uint64 {
	type named struct {
		name  string
		count uint64
	}
	var all []named
	for name, count := range counts {
		all = append(all, named{name, count})
	}
	slices.SortFunc(all, func(a, b named) int { return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.name, b.name)) })
	top := make(map[string]uint64, ListCap)
	for _, one := range all[:min(ListCap, len(all))] {
		top[one.name] = one.count
	}
	return top
}

// The paths that reports are posted to.
const (
	CommentPath = "/comment-api-statistics"
	ReaderPath  = "/reader-api-statistics"
	ClientPath  = "/client-statistics"
)

// CommentAPI is what one instance of the Comment API says of itself and, having Redis at hand, of the topics.
type CommentAPI struct {
	InstanceID string `json:"instanceId,omitempty"`
	// TotalComments counts the comments answered 201 since the instance started.
	TotalComments uint64 `json:"totalComments"`
	// CommentsByVideo counts them for the videos with the most; CommentedVideos is how many videos have any.
	CommentsByVideo map[string]uint64 `json:"commentsByVideo"`
	CommentedVideos int               `json:"commentedVideos" validate:"min=0"`
	// ActiveTopics names videos that at least one reader is subscribed to, TopicSubscribers counts the readers of each, and
	// ActiveTopicCount is the exact number of such videos.
	ActiveTopics     []string         `json:"activeTopics"`
	TopicSubscribers map[string]int64 `json:"topicSubscribers"`
	ActiveTopicCount int              `json:"activeTopicCount" validate:"min=0"`
}

// Reader is what one reader says of itself.
type Reader struct {
	InstanceID        string `json:"instanceId"`
	ActiveConnections int    `json:"activeConnections" validate:"min=0"`
	// SubscribedTopics names videos that the reader is subscribed to; SubscribedTopicCount is their exact number.
	SubscribedTopics     []string `json:"subscribedTopics"`
	SubscribedTopicCount int      `json:"subscribedTopicCount" validate:"min=0"`
	// MessagesReceived counts the comments that Redis delivered to the reader or that it filled in from the history after an
	// interruption, MessagesSent those that it wrote to viewers, both since it started.
	MessagesReceived uint64 `json:"messagesReceived"`
	MessagesSent     uint64 `json:"messagesSent"`
	// Gaps counts the times that a viewer was moved ahead past comments it could not be given.
	Gaps uint64 `json:"gaps"`
}

// Client is what simulated viewers say of what they saw: one viewer, or a fleet of them.
type Client struct {
	ClientID          string   `json:"clientId"`
	UserID            string   `json:"userId"`
	VideoID           string   `json:"videoId"`
	CommentsGenerated uint64   `json:"commentsGenerated"`
	CommentsConsumed  uint64   `json:"commentsConsumed"`
	SubscribedTopics  []string `json:"subscribedTopics"`
	ConnectedReader   string   `json:"connectedReader"`
	// Viewers is how many viewers the report speaks for, Connected how many of them have a stream open.
	Viewers   int `json:"viewers" validate:"min=0"`
	Connected int `json:"connected" validate:"min=0"`
	Verification
	// LatencyMillis is the time from the post to each arrival.
	LatencyMillis Latency `json:"latencyMillis"`
}

// Verification counts what went wrong with comments that were answered 201.
type Verification struct {
	// Missing comments were followed by a later one of their video without having arrived.
	Missing uint64 `json:"missing"`
	// Duplicates arrived again, Misordered ones after a later one.
	Duplicates uint64 `json:"duplicates"`
	Misordered uint64 `json:"misordered"`
	// Corrupt arrivals were not comments on the viewer's video.
	Corrupt uint64 `json:"corrupt"`
	// Pending are due and on their way.
	Pending uint64 `json:"pending"`
	// NeverConnected viewers have tried, and have had no stream yet.
	NeverConnected uint64 `json:"neverConnected"`
	// Gaps are the readers' own announcements that something is missing.
	Gaps       uint64 `json:"gaps"`
	Reconnects uint64 `json:"reconnects"`
	// FailedPosts were not answered 201.
	FailedPosts uint64 `json:"failedPosts"`
}

// Add sums two verifications.
func (v *Verification) Add(other Verification) {
	v.Missing += other.Missing
	v.Duplicates += other.Duplicates
	v.Misordered += other.Misordered
	v.Corrupt += other.Corrupt
	v.NeverConnected += other.NeverConnected
	v.Pending += other.Pending
	v.Gaps += other.Gaps
	v.Reconnects += other.Reconnects
	v.FailedPosts += other.FailedPosts
}

// Err is why the figures do not show that every viewer got every comment, once and in order; nil when they do.
func (v *Verification) Err() error {
	switch {
	case v.Missing+v.Duplicates+v.Misordered+v.Corrupt > 0:
		return fmt.Errorf("viewers did not get every comment once and in order: %d missing, %d duplicates, %d misordered, %d corrupt",
			v.Missing, v.Duplicates, v.Misordered, v.Corrupt)
	case v.NeverConnected > 0:
		return fmt.Errorf("%d viewers never got a stream", v.NeverConnected)
	}
	return nil
}

// Latency is a distribution in milliseconds.
type Latency struct {
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
	Count int64   `json:"count"`
}

// Config says where and how often a part reports.
type Config struct {
	URL      string        `name:"statistics-api-url" env:"STATISTICS_API_URL" default:"http://localhost:5000" validate:"omitempty,http_url" help:"The Statistics API; empty to report nothing."`
	Interval time.Duration `name:"report-interval" env:"REPORT_INTERVAL" default:"2s" validate:"min=100ms" help:"How often to report to it."`
}

// Run sends what collect returns to path of the Statistics API at once, at every interval, and once more when ctx has
// ended. The system does not need it to run: a failure is logged once, until the next success, and costs nothing else.
func Run(ctx context.Context, cfg Config, log *zap.Logger, path string, collect func(context.Context) []any) {
	if cfg.URL == "" {
		return
	}
	ticker := time.NewTicker(cfg.Interval)
	defer ticker.Stop()
	failing := false
	for {
		err := send(ctx, cfg, path, collect(ctx))
		if err != nil && !failing && ctx.Err() == nil {
			log.Warn("statistics are not being taken", zap.Error(err))
		} else if err == nil && failing {
			log.Info("statistics are being taken again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := send(last, cfg, path, collect(last)); err != nil && !failing {
				log.Warn("the last statistics were not taken", zap.Error(err))
			}
			return
		case <-ticker.C:
		}
	}
}

// send posts reports to path of the Statistics API, one after the other.
func send(ctx context.Context, cfg Config, path string, reports []any) error {
	for _, report := range reports {
		body, err := json.Marshal(report)
		if err != nil {
			return err
		}
		if err := post(ctx, strings.TrimSuffix(cfg.URL, "/")+path, body); err != nil {
			return err
		}
	}
	return nil
}

func post(ctx context.Context, target string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	// Reports are seldom and small: a connection each leaves none open behind.
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if answer, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)); response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %s", target, response.Status, answer)
	}
	return nil
}
