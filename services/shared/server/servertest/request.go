package servertest

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tmaxmax/go-sse"
)

// Answer is what a request was answered with.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Reason is the sentence in an error's body, "" where there is none.
func (a Answer) Reason() string {
	var body struct{ Error string }
	_ = json.Unmarshal([]byte(a.Body), &body)
	return body.Error
}

// Do sends a request over a connection of its own.
func Do(t *testing.T, method, url, body string, header ...string) Answer {
	t.Helper()
	response := send(t, t.Context(), method, url, body, header...)
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return Answer{response.StatusCode, response.Header, string(answer)}
}

// Refused checks that a request is answered with a status and, in the body, what was wrong with it.
func Refused(t *testing.T, method, url, body string, status int, says string) {
	t.Helper()
	answer := Do(t, method, url, body)
	assert.Equal(t, status, answer.Status)
	assert.Equal(t, says, answer.Reason())
	assert.Contains(t, answer.Header.Get("Content-Type"), "application/json")
}

// anyCertificate is that of a client which does not ask who vouches for a service.
var anyCertificate = &tls.Config{InsecureSkipVerify: true}

func send(t *testing.T, ctx context.Context, method, url, body string, header ...string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	request.Close = true
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: anyCertificate}}).Do(request)
	require.NoError(t, err)
	return response
}

// Event is one event of a stream. ID is the stream's last event id after it, as a browser would have it.
type Event struct{ Type, ID, Data string }

// Stream is an open event stream.
type Stream struct {
	Header http.Header
	// Chunked reports whether the body has chunks, so that its end can be told from a broken connection.
	Chunked bool
	// Events receives what comes, and is closed when the stream ends.
	Events chan Event
	cancel context.CancelFunc
	ended  sync.WaitGroup
	err    error // why the stream ended; it is set before Events is closed
}

// Watch opens an event stream, which must be answered 200.
func Watch(t *testing.T, method, url, body string, header ...string) *Stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	response := send(t, ctx, method, url, body, header...)
	if response.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(response.Body)
		cancel()
		require.FailNow(t, "no stream", "%s: %s", response.Status, answer)
	}
	s := &Stream{
		Header: response.Header, Chunked: slices.Contains(response.TransferEncoding, "chunked"),
		Events: make(chan Event, 100_000), cancel: cancel,
	}
	s.ended.Go(func() {
		defer close(s.Events)
		defer func() { _ = response.Body.Close() }()
		s.err = s.read(response.Body)
	})
	t.Cleanup(s.Close)
	return s
}

// read passes events on until the stream ends, and returns ErrEnded or ErrCut.
func (s *Stream) read(body io.Reader) error {
	for event, err := range sse.Read(body, nil) {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCut, err)
		}
		s.Events <- Event{event.Type, event.LastEventID, event.Data}
	}
	return ErrEnded
}

// Close leaves the stream.
func (s *Stream) Close() {
	s.cancel()
	s.ended.Wait()
}

var (
	// ErrEnded says that a stream ended instead of bringing an event: after its last chunk, or, where it has no chunks, with
	// the connection.
	ErrEnded = errors.New("the stream ended")
	// ErrCut says that a stream broke off instead of bringing an event: a chunked one before its last chunk, any by a reset.
	ErrCut = errors.New("the stream was cut")
	// ErrQuiet says that a stream brought no event in time.
	ErrQuiet = errors.New("the stream is quiet")
)

// Next is the next event, or why there is none: an error that is ErrEnded, ErrCut or ErrQuiet.
func (s *Stream) Next(wait time.Duration) (Event, error) {
	select {
	case event, ok := <-s.Events:
		if !ok {
			return Event{}, s.err
		}
		return event, nil
	case <-time.After(wait):
		return Event{}, ErrQuiet
	}
}

// Expect is the next event, which must come.
func (s *Stream) Expect(t *testing.T) Event {
	t.Helper()
	event, err := s.Next(10 * time.Second)
	require.NoError(t, err)
	return event
}

// ExpectNext checks that the next events are these and come in this order. To show that a stream brings nothing else, post
// one more comment to its video and expect that one next: a wait cannot show it, because what should not come may be late.
func (s *Stream) ExpectNext(t *testing.T, want ...Event) {
	t.Helper()
	for i, event := range want {
		got, err := s.Next(10 * time.Second)
		require.NoError(t, err, "event %d of %d", i+1, len(want))
		require.Equal(t, event, got, "event %d of %d", i+1, len(want))
	}
}

// ExpectEnd checks that the stream ends next, and as it should: after its last chunk.
func (s *Stream) ExpectEnd(t *testing.T) {
	t.Helper()
	event, err := s.Next(10 * time.Second)
	require.ErrorIs(t, err, ErrEnded, "%v", event)
}
