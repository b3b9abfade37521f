package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// bodyTimeout is how long a client may take to send a body. Tests shorten it.
var bodyTimeout = 10 * time.Second

// StatusClientClosedRequest counts a request whose client left before it was answered. The number is nginx's; nobody
// reads the answer.
const StatusClientClosedRequest = 499

// JSON answers a request with a body and a line break after it, for those who read it in a terminal.
func JSON(c *gin.Context, status int, body any) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		panic(err) // for gin's recovery: every body is of our own types
	}
	c.Data(status, "application/json; charset=utf-8", text.Bytes())
}

// Fail answers a request with a status and one sentence that says what was wrong.
func Fail(c *gin.Context, status int, format string, args ...any) {
	c.Abort()
	JSON(c, status, gin.H{"error": fmt.Sprintf(format, args...)})
}

// Gone ends a request whose client has left before it was answered: it is counted as [StatusClientClosedRequest].
func Gone(c *gin.Context) {
	Fail(c, StatusClientClosedRequest, "the client left before this request was answered")
}

func (s *Server) limitBody(c *gin.Context) {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, s.cfg.BodyLimit)
}

// ReadJSON reads the body into target, ignoring unknown fields. Where it cannot, it answers the request (400, 408 or 413,
// with what was wrong; 499 where the client left) and returns false.
func ReadJSON(c *gin.Context, target any) bool {
	body, ok := readBody(c)
	if !ok {
		return false
	}
	switch {
	case len(body) == 0:
		Fail(c, http.StatusBadRequest, "the body must be a JSON object, not empty")
		return false
	case bytes.Equal(bytes.TrimSpace(body), []byte("null")):
		Fail(c, http.StatusBadRequest, "the body must be a JSON object, not null")
		return false
	case !utf8.Valid(body):
		// encoding/json would put U+FFFD in place of what it cannot read: not what the client has sent.
		Fail(c, http.StatusBadRequest, "the body must be UTF-8")
		return false
	}
	err := json.Unmarshal(body, target)
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return true
	case errors.As(err, &wrongType) && wrongType.Field == "":
		Fail(c, http.StatusBadRequest, "the body must be a JSON object, not %s", wrongType.Value)
	case errors.As(err, &wrongType):
		Fail(c, http.StatusBadRequest, "%s must be %s, not %s", wrongType.Field, kindInJSON(wrongType), wrongType.Value)
	case errors.As(err, &syntax):
		Fail(c, http.StatusBadRequest, "the body is not JSON: %s at byte %d", syntax, syntax.Offset)
	default:
		Fail(c, http.StatusBadRequest, "the body is not what is expected here: %s", err)
	}
	return false
}

// readBody returns the whole body, or answers why it cannot.
func readBody(c *gin.Context) (body []byte, ok bool) {
	connection := http.NewResponseController(c.Writer)
	// Not every ResponseWriter has deadlines; those of tests need none.
	_ = connection.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(c.Request.Body)
	var tooLarge *http.MaxBytesError
	var lost *net.OpError
	switch {
	case err == nil:
		_ = connection.SetReadDeadline(time.Time{})
		return body, true
	case errors.As(err, &tooLarge):
		Fail(c, http.StatusRequestEntityTooLarge, "the body must be at most %d bytes", tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		// An answer on a connection that stays open would wait for the rest of the body.
		c.Header("Connection", "close")
		Fail(c, http.StatusRequestTimeout, "the body must be sent within %s", bodyTimeout)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &lost):
		Gone(c)
	default:
		Fail(c, http.StatusBadRequest, "the body could not be read: %s", err)
	}
	return nil, false
}

// kindInJSON names what the field should have been in the words of JSON, not of Go.
func kindInJSON(err *json.UnmarshalTypeError) string {
	switch kind := err.Type.Kind().String(); kind {
	case "string", "map", "struct", "slice", "bool":
		return map[string]string{"string": "a string", "map": "an object", "struct": "an object", "slice": "a list", "bool": "true or false"}[kind]
	case "uint64", "uint":
		return "a whole number of at least 0"
	default:
		return "a number"
	}
}

// observe counts and times requests by route. A stream counts when it has left HTTP, and so begins.
func (s *Server) observe() gin.HandlerFunc {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "livecomments_http_request_duration_seconds",
		Help:    "Time from a request's headers to the end of its answer, by route, method and status.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
	}, []string{"route", "method", "status"})
	s.Registry.MustRegister(seconds)
	return func(c *gin.Context) {
		s.handlers.Add(1)
		defer s.handlers.Done()
		began := time.Now()
		c.Next()
		if !c.Writer.Written() && c.Request.Context().Err() != nil {
			Gone(c) // else it would be counted as 200
		}
		route, method, status, took := c.FullPath(), c.Request.Method, c.Writer.Status(), time.Since(began)
		if route == "" {
			// Paths and methods that nobody serves are the caller's invention: as labels they would be without bound.
			route, method = "none", "any"
		}
		seconds.WithLabelValues(route, method, strconv.Itoa(status)).Observe(took.Seconds())
		s.Log.Debug("request", zap.String("method", c.Request.Method), zap.String("path", c.Request.URL.Path),
			zap.Int("status", status), zap.Duration("took", took), zap.String("from", c.Request.RemoteAddr))
	}
}

func (s *Server) recover(c *gin.Context, cause any) {
	s.Log.Error("a request panicked", zap.String("path", c.Request.URL.Path), zap.Any("cause", cause), zap.Stack("stack"))
	if c.Writer.Written() {
		c.Abort()
		return
	}
	Fail(c, http.StatusInternalServerError, "this request could not be handled; the log says why")
}
