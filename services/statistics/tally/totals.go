package tally

import (
	"time"

	"github.com/livecomments/livecomments/services/shared/reports"
)

// Totals is the answer of GET /statistics.
type Totals struct {
	CommentAPI CommentAPI `json:"commentApi"`
	ReaderAPIs ReaderAPIs `json:"readerApis"`
	// Clients are the simulated viewers' reports, the first of them by id; Viewers sums all.
	Clients []Client `json:"clients"`
	Viewers Viewers  `json:"viewers"`
	Rates   Rates    `json:"rates"`
	// StoredComments counts the comments stored and published by every instance that has reported, also when it has gone.
	StoredComments uint64 `json:"storedComments"`
	// DuplicateInstanceIDs names INSTANCE_IDs that several instances of one kind have; DuplicateInstanceIDCount is how many
	// there are. Each instance counts in the sums.
	DuplicateInstanceIDs     []string  `json:"duplicateInstanceIds"`
	DuplicateInstanceIDCount int       `json:"duplicateInstanceIdCount"`
	Timestamp                time.Time `json:"timestamp"`
}

// CommentAPI sums the instances of the Comment API. CommentedVideos is, with several of them, the largest they report.
type CommentAPI struct {
	Instances int `json:"instances"`
	reports.CommentAPI
	// CommentsPerSecondByVideo is, for videos of CommentsByVideo, how fast they grow: a mean over half the rate window to all of
	// it. A video that has come into the list since is not in it.
	CommentsPerSecondByVideo map[string]float64 `json:"commentsPerSecondByVideo"`
}

// ReaderAPIs sums the readers.
type ReaderAPIs struct {
	TotalReaders           int    `json:"totalReaders"`
	TotalActiveConnections int    `json:"totalActiveConnections"`
	TotalMessagesSent      uint64 `json:"totalMessagesSent"`
	TotalMessagesReceived  uint64 `json:"totalMessagesReceived"`
	TotalGaps              uint64 `json:"totalGaps"`
	// AllSubscribedTopics names some videos that readers are subscribed to; AllSubscribedTopicCount is how many there are. It is
	// 0, as the shares are, while Redis has not been asked and the readers' lists are too long to tell.
	AllSubscribedTopics     []string `json:"allSubscribedTopics"`
	AllSubscribedTopicCount int      `json:"allSubscribedTopicCount"`
	// TotalSubscriptions sums the readers' topics: one that two readers hold counts twice.
	TotalSubscriptions int `json:"totalSubscriptions"`
	// SubscriptionShare is over the readers.
	SubscriptionShare Share `json:"subscriptionShare"`
	// Routing is how all readers place viewers; empty where they differ.
	Routing string `json:"routing"`
	// TotalRedirects and TotalMoved sum what the readers have counted since they started, TotalMisplaced what holds now.
	TotalRedirects uint64   `json:"totalRedirects"`
	TotalMoved     uint64   `json:"totalMoved"`
	TotalMisplaced int      `json:"totalMisplaced"`
	Readers        []Reader `json:"readers"`
}

// Reader is one reader's report and its part in the whole.
type Reader struct {
	reports.Reader
	// SubscriptionShare is the reader's topics ÷ all topics, 0 to 1.
	SubscriptionShare float64 `json:"subscriptionShare"`
	// ReceivedPerSecond and DeliveriesPerSecond are the reader's part of those in Rates. CPU is the processor time that its process
	// uses, in seconds a second, over the rate window.
	ReceivedPerSecond   float64 `json:"receivedPerSecond"`
	DeliveriesPerSecond float64 `json:"deliveriesPerSecond"`
	CPU                 float64 `json:"cpu"`
	// Shared is whether other readers run in the same process, so that its CPU and memory are those of all of them.
	Shared     bool      `json:"shared"`
	ReportedAt time.Time `json:"reportedAt"`

	label string // in metrics
}

// Share is the subscription share of several readers.
type Share struct {
	Min  float64 `json:"min"`
	Mean float64 `json:"mean"`
	Max  float64 `json:"max"`

	added int
}

func (s *Share) add(share float64, of int) {
	if s.added == 0 || share < s.Min {
		s.Min = share
	}
	s.Max = max(s.Max, share)
	s.Mean += share / float64(of)
	s.added++
}

// Client is one client's report.
type Client struct {
	reports.Client
	ReportedAt time.Time `json:"reportedAt"`
}

// Viewers sums the clients' reports. Its latencies are those of the slowest client.
type Viewers struct {
	Clients           int    `json:"clients"`
	Viewers           int    `json:"viewers"`
	Connected         int    `json:"connected"`
	CommentsGenerated uint64 `json:"commentsGenerated"`
	CommentsConsumed  uint64 `json:"commentsConsumed"`
	reports.Verification
	LatencyMillis reports.Latency `json:"latencyMillis"`
}

// Rates are means over the window, or since a part began to report where that is less.
type Rates struct {
	WindowSeconds       float64 `json:"windowSeconds"`
	CommentsPerSecond   float64 `json:"commentsPerSecond"`
	ReceivedPerSecond   float64 `json:"receivedPerSecond"`
	DeliveriesPerSecond float64 `json:"deliveriesPerSecond"`
	// CopiesPerComment is the messages that readers received ÷ the comments published; 0 while nothing is published.
	CopiesPerComment float64 `json:"copiesPerComment"`
}
