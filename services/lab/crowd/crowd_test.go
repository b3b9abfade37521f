package crowd

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	head        = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
	chunkedHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\ntransfer-encoding:  Chunked\r\nDate: now\r\n\r\n"
	connected   = "id: 0-0\ndata: {\"type\":\"connected\"}\n\n"
	gap         = "event: gap\ndata: {}\n\n"
	heartbeat   = ": heartbeat\n\n"
	lastChunk   = "0\r\n\r\n"
)

func comments(numbers ...uint64) (events []string) {
	for _, n := range numbers {
		events = append(events, "id: 1-0\ndata: {\"userid\":\"poster\",\"videoid\":\"v\",\"comment\":\""+Text(n, time.Now(), 60)+"\",\"timestamp\":\"\"}\n\n")
	}
	return events
}

func chunk(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }

// framings are the ways in which a reader may send its events.
var framings = map[string]func(events []string) string{
	"no chunks":        func(events []string) string { return head + strings.Join(events, "") },
	"a chunk an event": func(events []string) string { return chunkedHead + inChunks(events) },
	"one chunk":        func(events []string) string { return chunkedHead + chunk(strings.Join(events, "")) },
	"chunks of 7 bytes": func(events []string) string {
		var pieces []string
		for all := strings.Join(events, ""); all != ""; {
			n := min(7, len(all))
			pieces, all = append(pieces, all[:n]), all[n:]
		}
		return chunkedHead + inChunks(pieces)
	},
}

func inChunks(pieces []string) string {
	var all strings.Builder
	for _, piece := range pieces {
		all.WriteString(chunk(piece))
	}
	return all.String()
}

// seen is what a viewer has seen when the pieces have come one after the other.
func seen(t *testing.T, pieces ...string) Figures {
	t.Helper()
	f, s := newFigures(), stream{phase: awaiting}
	for _, piece := range pieces {
		if s.phase != over {
			f.arrival(&s, append(append([]byte{}, s.partial...), piece...), len(s.partial), time.Now())
		}
	}
	assert.Equal(t, int64(f.Arrived), f.Latency.TotalCount())
	return f.counts()
}

// assertSeen checks what a viewer sees of an answer that comes byte by byte, and in any two pieces.
func assertSeen(t *testing.T, want Figures, answer string) {
	t.Helper()
	if !assert.Equal(t, want, seen(t, strings.Split(answer, "")...), "byte by byte") {
		return
	}
	for i := range answer {
		if !assert.Equal(t, want, seen(t, answer[:i], answer[i:]), "%q and %q", answer[:i], answer[i:]) {
			return
		}
	}
}

func TestAViewerJudgesWhatArrives(t *testing.T) {
	half := comments(2)[0][:50]
	tests := map[string]struct {
		events []string
		want   Figures
	}{
		"all, in order":        {comments(1, 2, 3), Figures{Connected: 1, Arrived: 3}},
		"with heartbeats":      {append(append(comments(1), heartbeat), comments(2)...), Figures{Connected: 1, Arrived: 2}},
		"the first is missing": {comments(2), Figures{Connected: 1, Arrived: 1, Missing: 1}},
		"two are missing":      {comments(1, 4), Figures{Connected: 1, Arrived: 2, Missing: 2}},
		"one comes twice":      {comments(1, 2, 2), Figures{Connected: 1, Arrived: 3, Duplicates: 1}},
		"one comes late":       {comments(1, 3, 2), Figures{Connected: 1, Arrived: 3, Missing: 1, Misordered: 1}},
		"a gap":                {[]string{gap}, Figures{Connected: 1, Gaps: 1}},
		"half of an event":     {append(comments(1), half), Figures{Connected: 1, Arrived: 1}},
	}
	for name, test := range tests {
		for framing, frame := range framings {
			t.Run(name+", "+framing, func(t *testing.T) {
				assertSeen(t, test.want, frame(append([]string{connected}, test.events...)))
			})
		}
	}
}

func TestAnAnswerWithoutAStreamIsCounted(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		want   Figures
	}{
		"a full reader":            {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}", Figures{Refused: 1}},
		"something else":           {"HTTP/1.1 404 Not Found\r\n\r\n{}", Figures{Failed: 1}},
		"half of a head":           {head[:30], Figures{}},
		"a head, and nothing else": {chunkedHead, Figures{}},
		"a stream without events":  {chunkedHead + lastChunk, Figures{Failed: 1}},
	} {
		t.Run(name, func(t *testing.T) { assertSeen(t, test.want, test.answer) })
	}
}

func TestAStreamThatDoesNotEndAfterItsLastChunkIsUnclean(t *testing.T) {
	began, event := chunkedHead+chunk(connected), chunk(comments(1)[0])
	clean, unclean := Figures{Arrived: 1}, Figures{Arrived: 1, Unclean: 1}
	for name, test := range map[string]struct {
		answer string
		want   Figures
	}{
		"the last chunk":               {began + event + lastChunk, clean},
		"a trailer":                    {began + event + "0\r\nDate: now\r\n\r\n", unclean},
		"an event that is not whole":   {began + event + chunk("data: ") + lastChunk, unclean},
		"a size that is none":          {began + event + "x\r\n", unclean},
		"a size without digits":        {began + event + "\r\n", unclean},
		"a size that is too large":     {began + event + "10000000\r\n", unclean},
		"a size without a line feed":   {began + event + "5\rx", unclean},
		"an extension":                 {began + event + "5;name=value\r\n", unclean},
		"contents that are too long":   {began + event + "5\r\n: one\n\r\n", unclean},
		"contents without a new line":  {began + event + "6\r\n: one\n5\r\n", unclean},
		"contents without a line feed": {began + event + "6\r\n: one\n\r5", unclean},
		"half of the last chunk":       {began + event + "0\r\n0\r\n", unclean},
	} {
		t.Run(name, func(t *testing.T) { assertSeen(t, test.want, test.answer) })
	}
	assert.Equal(t, unclean, seen(t, began+event+lastChunk+"\n"), "more comes with the last chunk")
}

func TestFiguresAddUpAndSurviveTheWay(t *testing.T) {
	one, other := newFigures(), newFigures()
	for _, f := range []*Figures{&one, &other} {
		s := stream{phase: awaiting}
		answer := chunkedHead + chunk(connected+strings.Join(comments(1, 3, 2, 4, 4), "")+gap) + "broken"
		f.arrival(&s, []byte(answer), 0, time.Now())
		f.Refused, f.Redirects, f.Loops, f.Returned, f.Reads, f.Connected = 1, 2, 3, 4, 5, 6
		f.Redirected.record(int64(time.Second))
		f.Away.record(int64(time.Hour))
	}
	sent, err := json.Marshal(other)
	require.NoError(t, err)
	var arrived, sum Figures
	require.NoError(t, json.Unmarshal(sent, &arrived))
	sum.Add(one)
	sum.Add(arrived)
	assert.Equal(t, Figures{
		Connected: 12, Refused: 2, Failed: 0, Redirects: 4, Loops: 6, Returned: 8, Arrived: 10, Reads: 10,
		Missing: 2, Duplicates: 2, Misordered: 2, Gaps: 2, Unclean: 2,
	}, sum.counts())
	assert.Equal(t, int64(10), sum.Latency.TotalCount())
	assert.Equal(t, int64(2), sum.Direct.TotalCount())
	assert.InEpsilon(t, time.Second, sum.Redirected.Quantile(50), 0.001)
	assert.InEpsilon(t, time.Minute, sum.Away.Quantile(50), 0.001, "what is longer counts as a minute")

	sent, err = json.Marshal(other.counts())
	require.NoError(t, err)
	var counts Figures
	require.NoError(t, json.Unmarshal(sent, &counts))
	assert.Equal(t, other.counts(), counts)
	assert.Zero(t, counts.Away.Quantile(50))
}
