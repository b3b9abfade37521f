package crowd

import (
	"bytes"
	"time"

	"github.com/livecomments/livecomments/services/shared/comment"
)

var (
	ok200            = []byte("HTTP/1.1 200 ")
	full503          = []byte("HTTP/1.1 503 ")
	sentOn307        = []byte("HTTP/1.1 307 ")
	endOfLine        = []byte("\r\n")
	colon            = []byte(":")
	transferEncoding = []byte("Transfer-Encoding")
	chunkedEncoding  = []byte("chunked")
	locationHeader   = []byte("Location")
	retryAfter       = []byte("Retry-After")
	endOfHead        = []byte("\r\n\r\n")

	endOfEvent = []byte("\n\n")
	newLine    = []byte("\n")
	beforeText = []byte(`"comment":"`)
	gapEvent   = []byte("event: gap\n")
	eventID    = []byte("id: ")
	retryField = []byte("retry: ")
)

// phase is how far a viewer has come.
type phase uint8

const (
	connecting phase = iota
	awaiting         // the head of the answer
	sentOn           // the head has come, and says that the stream is elsewhere
	opening          // the head has come, and the first event has not
	watching
	over
)

// stream is what one viewer reads, over one connection after the other. A million of them have to fit into memory.
type stream struct {
	phase      phase
	chunked    bool
	redirected bool // the viewer has followed a redirect in this connect
	positioned bool // position is known
	retry      uint32
	chunks     chunks
	last       uint64 // number of the newest comment
	// position is the id of the newest event that has one, and retry the milliseconds after which to come back.
	position comment.ID
	// location is where to go on: the address that a redirect names, and then, until it is asked for, the path.
	location string
	// partial is what has come of a head or an event that is not whole, without its chunks' sizes.
	partial []byte
	// began is when the viewer has begun to connect, or will, and ended when it lost its last stream, 0 where it had none. Both
	// are nanoseconds since 1970.
	began, ended int64
}

// connect makes s the stream of a viewer that begins to connect. It goes on from what the viewer has seen.
func (s *stream) connect(now time.Time) {
	s.phase, s.redirected, s.location, s.began = connecting, false, "", now.UnixNano()
	s.chunked, s.chunks, s.partial = false, chunks{}, nil
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
		f.end(s, true, now)
	case malformed:
		f.end(s, false, now)
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
		if seconds, _ := number(header(head, retryAfter)); seconds > 0 {
			s.retry = uint32(min(seconds, maxRetrySeconds)) * 1000
		}
		return nil
	case bytes.HasPrefix(head, sentOn307) && !s.redirected:
		s.phase, s.location = sentOn, string(header(head, locationHeader))
		return nil
	case !bytes.HasPrefix(head, ok200):
		if bytes.HasPrefix(head, sentOn307) {
			f.Loops++
		}
		f.Failed++
		s.phase = over
		return nil
	}
	s.phase = opening
	s.chunked = bytes.EqualFold(header(head, transferEncoding), chunkedEncoding)
	return body
}

// header is the value of a field of an answer's head, nil where it has none of that name.
func header(head, field []byte) []byte {
	for line := range bytes.SplitSeq(head, endOfLine) {
		if name, value, _ := bytes.Cut(line, colon); bytes.EqualFold(name, field) {
			return bytes.TrimSpace(value)
		}
	}
	return nil
}

// events notes the events that are whole, and returns what comes after them.
func (f *Figures) events(s *stream, body []byte, now time.Time) []byte {
	for {
		end := bytes.Index(body, endOfEvent)
		if end < 0 {
			return body
		}
		if s.phase == opening {
			f.begin(s, body[:end+1], now)
		} else {
			f.event(s, body[:end+1], now)
		}
		body = body[end+len(endOfEvent):]
	}
}

// begin notes a stream's first event, and with it that the viewer has a stream.
func (f *Figures) begin(s *stream, event []byte, now time.Time) {
	f.Connected++
	s.phase = watching
	s.note(event)
	if s.redirected {
		f.Redirected.record(now.UnixNano() - s.began)
	} else {
		f.Direct.record(now.UnixNano() - s.began)
	}
	if s.ended > 0 {
		f.Returned++
		f.Away.record(now.UnixNano() - s.ended)
	}
}

// note keeps what an event says of the position in the stream, and of the time after which to come back.
func (s *stream) note(event []byte) {
	for line := range bytes.SplitSeq(event, newLine) {
		switch {
		case bytes.HasPrefix(line, eventID):
			s.advance(line[len(eventID):])
		case bytes.HasPrefix(line, retryField):
			millis, _ := number(line[len(retryField):])
			s.retry = uint32(min(millis, maxRetrySeconds*1000))
		}
	}
}

// maxRetrySeconds is the longest that a viewer waits before it comes back.
const maxRetrySeconds = 60

// advance keeps the id with which text begins as the position.
func (s *stream) advance(text []byte) {
	millis, rest := number(text)
	sequence, _ := number(rest)
	s.position, s.positioned = comment.ID{Millis: millis, Sequence: sequence}, true
}

// end notes the end of a stream. clean says that nothing is known to be missing from its body.
func (f *Figures) end(s *stream, clean bool, now time.Time) {
	if s.phase == watching {
		f.Connected--
		s.ended = now.UnixNano()
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
	if !bytes.HasPrefix(event, eventID) {
		if bytes.HasPrefix(event, gapEvent) {
			f.Gaps++
		}
		s.note(event)
		return
	}
	s.advance(event[len(eventID):])
	text := bytes.Index(event, beforeText)
	if text < 0 {
		return
	}
	n, rest := number(event[text+len(beforeText):])
	sent, _ := number(rest)
	f.Arrived++
	f.Latency.record(now.UnixNano() - int64(sent)) //nolint:gosec // it was a time
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

// number reads digits, and passes over what separates them from the rest.
func number(text []byte) (n uint64, rest []byte) {
	i := 0
	for ; i < len(text) && '0' <= text[i] && text[i] <= '9'; i++ {
		n = n*10 + uint64(text[i]-'0')
	}
	return n, text[min(i+1, len(text)):]
}
