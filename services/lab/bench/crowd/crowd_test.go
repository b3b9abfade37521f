package crowd

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nid: 0-0\ndata: {\"type\":\"connected\"}\n\n"

func comments(numbers ...uint64) string {
	var all strings.Builder
	for _, n := range numbers {
		all.WriteString("id: 1-0\ndata: {\"userid\":\"poster\",\"videoid\":\"v\",\"comment\":\"" + Text(n, time.Now(), 60) + "\",\"timestamp\":\"\"}\n\n")
	}
	return all.String()
}

func TestAViewerJudgesWhatArrives(t *testing.T) {
	tests := map[string]struct {
		sent string
		want Figures
	}{
		"all, in order":              {head + comments(1, 2, 3), Figures{Connected: 1, Arrived: 3}},
		"with heartbeats":            {head + comments(1) + ": heartbeat\n\n" + comments(2), Figures{Connected: 1, Arrived: 2}},
		"the first is missing":       {head + comments(2), Figures{Connected: 1, Arrived: 1, Missing: 1}},
		"two are missing":            {head + comments(1, 4), Figures{Connected: 1, Arrived: 2, Missing: 2}},
		"one comes twice":            {head + comments(1, 2, 2), Figures{Connected: 1, Arrived: 3, Duplicates: 1}},
		"one comes late":             {head + comments(1, 3, 2), Figures{Connected: 1, Arrived: 3, Missing: 1, Misordered: 1}},
		"a gap":                      {head + "event: gap\ndata: {}\n\n", Figures{Connected: 1, Gaps: 1}},
		"a full reader":              {"HTTP/1.1 503 Service Unavailable\r\n\r\n{}", Figures{Refused: 1}},
		"something else":             {"HTTP/1.1 404 Not Found\r\n\r\n{}", Figures{Failed: 1}},
		"half of an event":           {head + comments(1, 2)[:200], Figures{Connected: 1, Arrived: 1}},
		"the head, and nothing else": {head[:60], Figures{}},
	}
	for name, test := range tests {
		for _, piece := range []int{1, 7, 1 << 20} {
			t.Run(name, func(t *testing.T) {
				f, s := Figures{Latency: newHistogram()}, stream{phase: awaiting}
				for rest := test.sent; rest != ""; {
					n := min(piece, len(rest))
					f.arrival(&s, append(append([]byte{}, s.partial...), rest[:n]...), time.Now())
					rest = rest[n:]
				}
				assert.Equal(t, int64(f.Arrived), f.Latency.TotalCount())
				f.Latency = nil
				assert.Equal(t, test.want, f)
			})
		}
	}
}
