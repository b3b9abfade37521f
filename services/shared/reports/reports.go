// Package reports is what the parts tell the Statistics API about themselves, and how they send it.
package reports

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"

	"github.com/go-playground/validator/v10"

	"github.com/livecomments/livecomments/services/shared/comment"
)

// ListCap bounds every list and map in a report: 90,000 topics a reader do not belong in JSON. Beside each stands an exact count.
const ListCap = 100

// Top is the ListCap largest of counts; of equal ones, those whose names come first.
func Top(counts iter.Seq2[string, uint64]) map[string]uint64 {
	type named struct {
		name  string
		count uint64
	}
	order := func(a, b named) int { return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.name, b.name)) }
	// A reader has 90,000 videos to choose from at every report: few are kept, and most are dropped at a glance.
	kept := make([]named, 0, 4*ListCap)
	var least named // that may still be among the largest, once there are ListCap
	choose := func() {
		slices.SortFunc(kept, order)
		if kept = kept[:min(ListCap, len(kept))]; len(kept) == ListCap {
			least = kept[ListCap-1]
		}
	}
	for name, count := range counts {
		if count < least.count {
			continue
		}
		if kept = append(kept, named{name, count}); len(kept) == cap(kept) {
			choose()
		}
	}
	choose()
	top := make(map[string]uint64, len(kept))
	for _, one := range kept {
		top[one.name] = one.count
	}
	return top
}

// Report is a *CommentAPI, a *Reader or a *Client.
type Report interface {
	// Path is the path that reports of this kind are posted to.
	Path() string
	// Validate returns what is wrong with the report, in one sentence.
	Validate() error
	sentBy(process uint64)
}

// Sender is what every report says of its sender's process.
type Sender struct {
	// Process is a random number that a process keeps until it ends: it tells an instance that was restarted, or another of
	// the same name, from the one before. It is below 2^53, so that JavaScript reads it exactly; 0 says nothing.
	Process uint64 `json:"process,omitempty"`
}

func (s *Sender) sentBy(process uint64) { s.Process = process }

// CommentAPI is what one instance of the Comment API says of itself.
type CommentAPI struct {
	InstanceID string `json:"instanceId,omitempty" validate:"omitempty,id"`
	Sender
	// TotalComments counts the comments answered 201 since the instance started.
	TotalComments uint64 `json:"totalComments"`
	// CommentsByVideo counts them for the videos with the most; CommentedVideos is how many videos have any.
	CommentsByVideo map[string]uint64 `json:"commentsByVideo"`
	CommentedVideos int               `json:"commentedVideos" validate:"min=0"`
	// ActiveTopics names videos that at least one reader is subscribed to, TopicSubscribers counts the readers of each, and
	// ActiveTopicCount is the exact number of such videos. The Statistics API asks Redis for them; what a report says of
	// them counts while Redis has never answered it.
	ActiveTopics     []string         `json:"activeTopics,omitzero"`
	TopicSubscribers map[string]int64 `json:"topicSubscribers,omitzero"`
	ActiveTopicCount int              `json:"activeTopicCount" validate:"min=0"`
}

// Path implements Report.
func (*CommentAPI) Path() string { return "/comment-api-statistics" }

// Validate implements Report. A report without an InstanceID is that of an instance without a name.
func (r *CommentAPI) Validate() error { return validate(r) }

// Reader is what one reader says of itself.
type Reader struct {
	InstanceID string `json:"instanceId" validate:"required,id"`
	Sender
	ActiveConnections int `json:"activeConnections" validate:"min=0"`
	// SubscribedTopics names videos that the reader is subscribed to; SubscribedTopicCount is their exact number.
	SubscribedTopics     []string `json:"subscribedTopics"`
	SubscribedTopicCount int      `json:"subscribedTopicCount" validate:"min=0"`
	// MessagesReceived counts the comments that Redis delivered to the reader or that it filled in from the history after an
	// interruption, MessagesSent those that it wrote to viewers, both since it started.
	MessagesReceived uint64 `json:"messagesReceived"`
	MessagesSent     uint64 `json:"messagesSent"`
	// Gaps counts the times that a viewer was moved ahead past comments it could not be given.
	Gaps uint64 `json:"gaps"`
	// Audiences counts the viewers that the reader has of the videos with the most, at most ListCap of them.
	Audiences map[string]uint64 `json:"audiences,omitempty"`
	Placement
	Usage
}

// Usage is what the operating system gives the process in which a reader runs; 0 where it does not say.
type Usage struct {
	// OSProcess is a random number that all readers of one process of the operating system have in common: what the others
	// of them say of their usage is the same.
	OSProcess uint64 `json:"osProcess,omitempty"`
	// CPUSeconds is the processor time since the process started, MemoryBytes what is resident of it.
	CPUSeconds  float64 `json:"cpuSeconds,omitempty" validate:"min=0"`
	MemoryBytes uint64  `json:"memoryBytes,omitempty"`
}

// Placement is what a reader says of where its viewers belong. Its counters run since the reader started.
type Placement struct {
	// Routing is how viewers are placed; empty in the report of a reader that does not know placement.
	Routing string `json:"routing" validate:"omitempty,id"`
	// Redirects counts the viewers that were sent on to another reader, Placed those that came because another has sent them,
	// Kept those that stayed because the reader that they belong to did not answer, and Unplaced those that came through a gateway
	// which found no reader to ask.
	Redirects uint64 `json:"redirects"`
	Placed    uint64 `json:"placed"`
	Kept      uint64 `json:"kept"`
	Unplaced  uint64 `json:"unplaced"`
	// Moved counts the streams that were ended because they belong to another reader, Misplaced is those that still do.
	Moved     uint64 `json:"moved"`
	Misplaced int    `json:"misplaced" validate:"min=0"`
	// FleetReaders is how many readers this one sees, itself included; 0 where viewers stay wherever they connect.
	FleetReaders int `json:"fleetReaders" validate:"min=0"`
}

// AudiencesComplete reports whether Audiences has all videos that have viewers there.
func (r *Reader) AudiencesComplete() bool {
	if len(r.Audiences) > 0 {
		return len(r.Audiences) < ListCap
	}
	// An older reader reports none.
	return r.ActiveConnections == 0
}

// Path implements Report.
func (*Reader) Path() string { return "/reader-api-statistics" }

// Validate implements Report.
func (r *Reader) Validate() error { return validate(r) }

// Client is what simulated viewers say of what they saw: one viewer, or a fleet of them.
type Client struct {
	ClientID string `json:"clientId" validate:"required,id"`
	Sender
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
	// LatencyMillis is the time from the post to each arrival, FirstEventMillis that from a viewer's request for a stream to the
	// stream's first event, and OutageMillis that from the end of a stream to the first event of the viewer's next.
	LatencyMillis    Latency `json:"latencyMillis"`
	FirstEventMillis Latency `json:"firstEventMillis"`
	OutageMillis     Latency `json:"outageMillis"`
}

// Path implements Report.
func (*Client) Path() string { return "/client-statistics" }

// Validate implements Report.
func (r *Client) Validate() error { return validate(r) }

// bounds checks the `validate` tags of reports, and calls their fields by their names in JSON.
var bounds = func() *validator.Validate {
	v := validator.New()
	v.RegisterTagNameFunc(func(field reflect.StructField) string {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		return name
	})
	if err := v.RegisterValidation("id", func(field validator.FieldLevel) bool {
		return comment.ValidateID("", field.Field().String()) == nil
	}); err != nil {
		panic(err) // only for a tag that is none
	}
	return v
}()

func validate(report Report) error {
	var broken validator.ValidationErrors
	if err := bounds.Struct(report); !errors.As(err, &broken) {
		return err
	}
	switch first := broken[0]; first.Tag() {
	case "required":
		return fmt.Errorf("%s is required", first.Field())
	case "id":
		return comment.ValidateID(first.Field(), first.Value().(string))
	default:
		return fmt.Errorf("%s must be at least %s", first.Field(), first.Param())
	}
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
