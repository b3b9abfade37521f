package crowd

import (
	"bytes"
	"time"
)

var (
	endOfHead  = []byte("\r\n\r\n")
	endOfEvent = []byte("\n\n")
	beforeText = []byte(`"comment":"`)
	ok200      = []byte("HTTP/1.1 200 ")
	full503    = []byte("HTTP/1.1 503 ")
	gapEvent   = []byte("event: gap\n")
	commentID  = []byte("id: ")
)

// phase is how far a viewer has come.
type phase uint8

const (
	connecting phase = iota
	awaiting         // the head of the answer, and the first event
	watching
	over
)

// stream is one viewer's reading. What has come of an event that is not whole is kept in partial.
type stream struct {
	phase   phase
	last    uint64 // number of the newest comment
	partial []byte
}

// arrival notes what one viewer got at one time.
func (f *Figures) arrival(s *stream, data []byte, now time.Time) {
	if s.phase == awaiting {
		data = f.begin(s, data)
	}
	for s.phase == watching {
		end := bytes.Index(data, endOfEvent)
		if end < 0 {
			break
		}
		f.event(s, data[:end+1], now)
		data = data[end+2:]
	}
	if len(data) == 0 {
		s.partial = nil
		return
	}
	s.partial = append(s.partial[:0], data...)
}

// begin reads the head of the answer and the first event, and returns what comes after.
func (f *Figures) begin(s *stream, data []byte) []byte {
	head := bytes.Index(data, endOfHead)
	if head < 0 {
		return data
	}
	switch {
	case bytes.HasPrefix(data, full503):
		f.Refused++
		s.phase = over
		return nil
	case !bytes.HasPrefix(data, ok200):
		f.Failed++
		s.phase = over
		return nil
	}
	first := bytes.Index(data[head:], endOfEvent)
	if first < 0 {
		return data
	}
	f.Connected++
	s.phase = watching
	return data[head+first+len(endOfEvent):]
}

// event notes one event, from its first line to the end of its last.
func (f *Figures) event(s *stream, event []byte, now time.Time) {
	if !bytes.HasPrefix(event, commentID) {
		if bytes.HasPrefix(event, gapEvent) {
			f.Gaps++
		}
		return
	}
	text := bytes.Index(event, beforeText)
	if text < 0 {
		return
	}
	n, rest := number(event[text+len(beforeText):])
	sent, _ := number(rest)
	f.Arrived++
	_ = f.Latency.RecordValue(max(1, (now.UnixNano()-int64(sent))/1000)) //nolint:gosec // it was a time; what is over a minute counts as that
	switch {
	case n == s.last+1:
		s.last = n
	case n > s.last:
		f.Missing += n - s.last - 1
		s.last = n
	case n == s.last:
		f.Duplicates++
	default:
		f.Misordered++
	}
}

// number reads digits, and passes over the space behind them.
func number(text []byte) (n uint64, rest []byte) {
	i := 0
	for ; i < len(text) && '0' <= text[i] && text[i] <= '9'; i++ {
		n = n*10 + uint64(text[i]-'0')
	}
	return n, text[min(i+1, len(text)):]
}
