package feed

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// recorder is a ring that tells what viewers are given: numbers of comments, (n) for a gap up to n, and <n for going back to n.
type recorder struct {
	given []string
	held  []comment.ID
}

func (r *recorder) Publish(frames ...fanout.Frame) {
	for _, frame := range frames {
		if frame.Gap {
			r.given = append(r.given, fmt.Sprintf("(%d)", frame.ID.Millis))
		} else {
			r.given = append(r.given, strconv.FormatUint(frame.ID.Millis, 10))
		}
		r.held = append(r.held, frame.ID)
	}
}

func (r *recorder) Fill(frames ...fanout.Frame) { r.Publish(frames...) }

func (r *recorder) Rewind(head comment.ID) {
	r.given = append(r.given, fmt.Sprintf("<%d", head.Millis))
	r.held = nil
}

func (r *recorder) Head() (head comment.ID) {
	for _, id := range r.held {
		head = id
	}
	return head
}

func (r *recorder) Holds(id comment.ID) bool { return slices.Contains(r.held, id) }

func number(t *testing.T, text string) comment.ID {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err)
	return comment.ID{Millis: n}
}

// chain reads "5>6 6>8 8>9?" as messages 6, 8 and 9, of which each names its predecessor, and the last has an unknown kind.
func chain(t *testing.T, text string) (messages []broker.Message) {
	t.Helper()
	for word := range strings.FieldsSeq(text) {
		kind := broker.Comment
		if known, found := strings.CutSuffix(word, "?"); found {
			kind, word = "tomorrow's", known
		}
		previous, id, found := strings.Cut(word, ">")
		require.True(t, found, word)
		messages = append(messages, broker.Message{Kind: kind, ID: number(t, id), Previous: number(t, previous)})
	}
	return messages
}

// history is what Redis holds of a video, as History answers a query.
func history(t *testing.T, text string, query broker.Query) (page broker.Page) {
	t.Helper()
	expired := strings.HasPrefix(text, "expired")
	all := chain(t, strings.TrimPrefix(text, "expired"))
	if len(all) > 0 {
		page.Head = all[len(all)-1].ID
		if all[0].Previous.IsZero() {
			page.First = all[0].ID
		}
	}
	if query.Last > 0 {
		page.Messages = all[max(0, len(all)-query.Last):]
		page.Complete = true
		page.Beginning = len(page.Messages) == len(all)
		return page
	}
	page.Messages = after(all, query.After)
	if len(page.Messages) == 0 {
		page.Complete = page.Head == query.After
	} else {
		page.Complete = page.Messages[0].Previous == query.After
	}
	page.Expired = expired && !page.Complete
	return page
}

func TestViewersAreGivenEverythingOnceOrAreToldOfAGap(t *testing.T) {
	// Each begins as live after the comments 1 to 5, of which the ring holds 3 to 5.
	const confirmed, stale = "confirmed", "always 2>3 3>4 4>5"
	tests := map[string]struct {
		// happens are messages that arrive, "confirmed", "read" followed by what the history holds when it is read once, or
		// "always" followed by what it holds until the topic is live.
		happens []string
		given   string
		state   state
	}{
		"the next comes":                                  {[]string{"5>6 6>7"}, "6 7", live},
		"one comes again":                                 {[]string{"5>6 5>6 4>5"}, "6", live},
		"a kind of tomorrow is passed over":               {[]string{"5>6 6>7? 7>8"}, "6 8", live},
		"a kind of tomorrow comes again":                  {[]string{"5>6? 5>6? 6>7"}, "7", live},
		"one is missing":                                  {[]string{"6>7"}, "", catchingUp},
		"one is missing, and the history has it":          {[]string{"6>7", "read 0>1 1>2 2>3 3>4 4>5 5>6 6>7"}, "6 7", live},
		"more comes while the history is read":            {[]string{"6>7 7>8", "read 4>5 5>6 6>7 7>8 8>9", "8>9 9>10"}, "6 7 8 9 10", live},
		"the replica that is read is behind the head":     {[]string{"6>7", "read 0>1 1>2 2>3 3>4", "7>8", "read 4>5 5>6 6>7"}, "6 7 8", live},
		"a replica is empty while it loads":               {[]string{confirmed, "read", "read", "read 4>5 5>6", "6>7"}, "6 7", live},
		"a replica is behind after a reconnect":           {[]string{confirmed, "read 0>1 1>2 2>3", "read 3>4 4>5", "5>6"}, "6", live},
		"the replica that is read is behind at first":     {[]string{"6>7", "read 4>5", "7>8", "read 4>5 5>6 6>7"}, "6 7 8", live},
		"the history never has it":                        {[]string{"6>7", stale, "7>8"}, "(6) 7 8", live},
		"the history never has the first of a new one":    {[]string{"0>9", stale, "9>10"}, "<5 9 10", live},
		"the history never has one before the head":       {[]string{"3>4", "8>9", stale}, "(8) 9", live},
		"the history has been trimmed":                    {[]string{"8>9", "read 6>7 7>8 8>9", "read 6>7 7>8 8>9"}, "(6) 7 8 9", live},
		"the history has been trimmed to the next":        {[]string{"6>7", "read 5>6 6>7"}, "6 7", live},
		"confirmed again, with nothing missed":            {[]string{confirmed, "read 4>5"}, "", live},
		"confirmed again, with some missed":               {[]string{confirmed, "read 4>5 5>6 6>7", "7>8"}, "6 7 8", live},
		"confirmed again, and they come twice":            {[]string{confirmed, "5>6", "read 4>5 5>6", "6>7"}, "6 7", live},
		"a second confirmation while the history is read": {[]string{confirmed, "5>6", confirmed, "6>7", "read 4>5 5>6 6>7"}, "6 7", live},
		"too many come while the history is read":         {[]string{confirmed, "5>6 6>7 7>8 8>9 9>10 10>11", "read 4>5", "read 4>5 5>6"}, "6 7 8 9 10 11", live},
		"too many come, and the history never has them":   {[]string{confirmed, "5>6 6>7 7>8 8>9 9>10 10>11 11>12", stale, "12>13"}, "(7) 8 9 10 11 12 13", live},
		"a failover has lost the last, and others follow": {[]string{confirmed, "always 0>1 1>2 2>3 3>4 4>8", "8>9"}, "<4 8 9", live},
		"a failover has lost the last":                    {[]string{confirmed, "always 2>3 3>4", "4>6"}, "<4 6", live},
		"a failover to a host whose clock is behind":      {[]string{confirmed, "always 0>1 1>2 2>3"}, "<3", live},

		"all is lost":                                 {[]string{confirmed, "always", "0>9"}, "<0 9", live},
		"all is lost, and it begins anew":             {[]string{"0>9 9>10", "read 0>9", "read 0>9", "10>11"}, "<0 9 10 11", live},
		"all is lost, and the clock is behind":        {[]string{"0>2 2>4", "always 0>2 2>4", "4>5"}, "<0 2 4 5", live},
		"the ids of before are given out again":       {[]string{confirmed, "always 0>3 3>4"}, "<0 3 4", live},
		"the history has expired":                     {[]string{confirmed, "read expired", "0>9"}, "9", live},
		"it has expired, and the clock was set back":  {[]string{confirmed, "read expired", "0>4", "4>5"}, "<0 4 5", live},
		"the history has expired, and it begins anew": {[]string{"0>9", "read expired 0>9", "9>10"}, "9 10", live},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var catching atomic.Int64
			topic, r := newTopic("v", 5, &catching), &recorder{}
			topic.receive(chain(t, "1>2")[0]) // too early
			topic.startCatchUp()
			require.Equal(t, caughtUp, topic.merge(history(t, "0>1 1>2 2>3 3>4 4>5", topic.query()), fanout.Limits{Frames: 5, Age: time.Minute}))
			topic.ring = r
			r.held = []comment.ID{{Millis: 3}, {Millis: 4}, {Millis: 5}}
			for _, what := range test.happens {
				text, isRead := strings.CutPrefix(what, "read")
				switch {
				case isRead:
					require.Equal(t, catchingUp, topic.state)
					topic.merge(history(t, strings.TrimSpace(text), topic.query()), fanout.Limits{})
				case what == confirmed:
					topic.startCatchUp()
				case strings.HasPrefix(what, "always"):
					for topic.state == catchingUp {
						topic.merge(history(t, strings.TrimPrefix(what, "always"), topic.query()), fanout.Limits{})
					}
				default:
					for _, m := range chain(t, what) {
						topic.receive(m)
					}
				}
			}
			assert.Equal(t, test.given, strings.Join(r.given, " "))
			assert.Equal(t, test.state, topic.state)
			assert.Equal(t, test.state == catchingUp, catching.Load() == 1)
		})
	}
}

func TestAVideoBeginsWithItsLastComments(t *testing.T) {
	tests := map[string]struct{ arrives, history, then, given string }{
		"without comments":                        {"", "", "0>1", "1"},
		"with some":                               {"", "0>1 1>2 2>3", "3>4", "1 2 3 4"},
		"that come at the same time":              {"1>2 2>3 3>4", "0>1 1>2 2>3", "4>5", "1 2 3 4 5"},
		"of a history that is read too early":     {"2>3", "0>1 1>2", "3>4", "1 2 3 4"},
		"of a history longer than is asked for":   {"", "6>7 7>8", "8>9", "7 8 9"},
		"and is not known for what came long ago": {"2>3 3>4 7>8", "6>7 7>8", "8>9", "7 8 9"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var catching atomic.Int64
			topic := newTopic("v", 5, &catching)
			topic.startCatchUp()
			for _, m := range chain(t, test.arrives) {
				topic.receive(m)
			}
			require.Equal(t, caughtUp, topic.merge(history(t, test.history, topic.query()), fanout.Limits{Frames: 100, Age: time.Minute}))
			for _, m := range chain(t, test.then) {
				require.False(t, topic.receive(m))
			}
			var given []string
			for n := range uint64(20) {
				if topic.output.Holds(comment.ID{Millis: n}) {
					given = append(given, strconv.FormatUint(n, 10))
				}
			}
			assert.Equal(t, test.given, strings.Join(given, " "))
		})
	}
}
