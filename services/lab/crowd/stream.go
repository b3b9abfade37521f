package crowd

import (
	"bytes"
	"time"
)

var (
	ok200            = []byte("HTTP/1.1 200 ")
	full503          = []byte("HTTP/1.1 503 ")
	endOfLine        = []byte("\r\n")
	colon            = []byte(":")
	transferEncoding = []byte("Transfer-Encoding")
	chunkedEncoding  = []byte("chunked")
	endOfHead        = []byte("\r\n\r\n")

	endOfEvent = []byte("\n\n")
	beforeText = []byte(`"comment":"`)
	gapEvent   = []byte("event: gap\n")
	commentID  = []byte("id: ")
)

// phase is how far a viewer has come.
type phase uint8

const (
	connecting phase = iota
	awaiting         // the head of the answer
	opening          // the head has come, and the first event has not
	watching
	over
)

// stream is what one viewer reads.
type stream struct {
	phase   phase
	chunked bool
	chunks  chunks
	last    uint64 // number of the newest comment
	// partial is what has come of a head or an event that is not whole, without its chunks' sizes.
	partial []byte
}

// arrival notes what one viewer got at one time. buffer is the stream's partial, of kept bytes, and what has come after it; it
// is overwritten.
func (f *Figures) arrival(s *stream, buffer []byte, kept int, now time.Time) {
	if s.phase == awaiting {
		buffer, kept = f.head(s, buffer), 0
		if s.phase != opening {
			s.keep(buffer)
			return
		}
	}
	body := buffer
	if s.chunked {
		body = s.chunks.decode(buffer[:kept], buffer[kept:])
	}
	s.keep(f.events(s, body, now))
	switch s.chunks.state {
	case complete:
		f.end(s, true)
	case malformed:
		f.end(s, false)
	default:
	}
}

func (s *stream) keep(rest []byte) {
	if len(rest) == 0 {
		s.partial = nil
		return
	}
	s.partial = append(s.partial[:0], rest...)
}

// head reads the head of the answer, and returns what comes after, or all of data where the head is not whole.
func (f *Figures) head(s *stream, data []byte) []byte {
	head, body, whole := bytes.Cut(data, endOfHead)
	switch {
	case !whole:
		return data
	case bytes.HasPrefix(head, full503):
		f.Refused++
		s.phase = over
		return nil
	case !bytes.HasPrefix(head, ok200):
		f.Failed++
		s.phase = over
		return nil
	}
	s.phase = opening
	for line := range bytes.SplitSeq(head, endOfLine) {
		name, value, _ := bytes.Cut(line, colon)
		if bytes.EqualFold(name, transferEncoding) {
			s.chunked = bytes.EqualFold(bytes.TrimSpace(value), chunkedEncoding)
		}
	}
	return body
}

// events notes the events that are whole, and returns what comes after them.
func (f *Figures) events(s *stream, body []byte, now time.Time) []byte {
	for {
		end := bytes.Index(body, endOfEvent)
		if end < 0 {
			return body
		}
		if s.phase == opening {
			f.Connected++
			s.phase = watching
		} else {
			f.event(s, body[:end+1], now)
		}
		body = body[end+len(endOfEvent):]
	}
}

// end notes the end of a stream. clean says that nothing is known to be missing from its body.
func (f *Figures) end(s *stream, clean bool) {
	if s.phase == watching {
		f.Connected--
	} else {
		f.Failed++
	}
	if s.phase >= opening && (!clean || len(s.partial) > 0) {
		f.Unclean++
	}
	s.phase = over
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
