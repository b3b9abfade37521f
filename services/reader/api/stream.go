package api

import (
	"bytes"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/livecomments/livecomments/services/reader/event"
	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/reader/feed"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/server"
)

// stream takes the connection from the HTTP server and hands it to the engine. leave is called when the stream has ended, with the
// reason.
func (a *api) stream(c *gin.Context, viewer request, position feed.Position, cursor fanout.Cursor, stay bool, leave func(fanout.Reason)) {
	opening := a.opening(c, viewer, position, cursor)
	opening.Stay = stay
	connection, _, err := c.Writer.Hijack()
	if err != nil {
		leave(fanout.Left)
		server.Fail(c, http.StatusHTTPVersionNotSupported, "an event stream needs HTTP/1.1: %s", err)
		return
	}
	a.engine.Serve(connection, cursor, opening, func(reason fanout.Reason) {
		leave(reason)
		a.metrics.ended[reason].Inc()
	})
}

// opening is the head of the answer, and the connected event with the position from which on nothing is left out.
func (a *api) opening(c *gin.Context, viewer request, position feed.Position, cursor fanout.Cursor) fanout.Opening {
	opening := fanout.Opening{Chunked: c.Request.ProtoAtLeast(1, 1)}
	header := c.Writer.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	// A viewer whose stream ends comes back over a new connection, which a balancer can send to another reader.
	header.Set("Connection", "close")
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if opening.Chunked {
		header.Set("Transfer-Encoding", "chunked")
	}
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 200 OK\r\n")
	_ = header.Write(&head) // to memory
	head.WriteString("\r\n")
	opening.Head = head.Bytes()

	var at *comment.ID
	switch {
	case position.After != nil && !cursor.Gap:
		at = position.After
	case !cursor.Replay: // else the first of them tells the position
		at = &cursor.At
	}
	opening.Events = append(opening.Events, event.Connected(viewer.UserID, viewer.VideoID, a.instance, at, a.retry()))
	if cursor.Gap {
		opening.Events = append(opening.Events, event.Gap(viewer.VideoID, at))
	}
	return opening
}
