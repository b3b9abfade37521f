// Package event spells what a reader writes to its viewers, in the event stream format of the HTML standard
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
package event

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/livecomments/livecomments/services/shared/comment"
)

// Heartbeat is a comment line: it keeps proxies from closing a quiet stream, and viewers do not see it.
var Heartbeat = []byte(": heartbeat\n\n")

// Comment carries one comment's JSON. A viewer's browser remembers the id and sends it as Last-Event-ID when it
// connects again.
func Comment(id comment.ID, data string) []byte {
	// Our own JSON is one line, with every character escaped that a client could take for its end. That of another publisher
	// must not end the event early either.
	data = comment.EscapeLineBreaks(data)
	if strings.ContainsAny(data, "\r\n") {
		data = strings.NewReplacer("\r\n", "\ndata: ", "\n", "\ndata: ", "\r", "\ndata: ").Replace(data)
	}
	return []byte("id: " + id.String() + "\ndata: " + data + "\n\n")
}

// Connected is a stream's first event. From its position on nothing is left out without a gap event; where at is nil the
// next event with an id tells the position. retry is how long the viewer should wait before it connects again.
func Connected(userID, videoID, instance string, at *comment.ID, retry time.Duration) []byte {
	return write("", at, &retry, struct {
		Type     string `json:"type"`
		UserID   string `json:"userid"`
		VideoID  string `json:"videoid"`
		Instance string `json:"instance"`
	}{"connected", userID, videoID, instance})
}

// Gap says that comments before the next event cannot be given to this viewer. Where at is not nil it is where the
// stream goes on.
func Gap(videoID string, at *comment.ID) []byte {
	return write("gap", at, nil, struct {
		Type    string `json:"type"`
		VideoID string `json:"videoid"`
	}{"gap", videoID})
}

// Reconnect is a stream's last event: the reader is about to end it, and the viewer should connect again, elsewhere if it
// can, after retry.
func Reconnect(reason string, retry time.Duration) []byte {
	return write("reconnect", nil, &retry, struct {
		Type        string `json:"type"`
		Reason      string `json:"reason"`
		RetryMillis int64  `json:"retryMillis"`
	}{"reconnect", reason, retry.Milliseconds()})
}

func write(name string, id *comment.ID, retry *time.Duration, data any) []byte {
	body, err := json.Marshal(data)
	if err != nil {
		panic(err) // structs of strings and numbers always marshal
	}
	var b strings.Builder
	if name != "" {
		b.WriteString("event: " + name + "\n")
	}
	if id != nil {
		b.WriteString("id: " + id.String() + "\n")
	}
	if retry != nil {
		b.WriteString("retry: " + strconv.FormatInt(retry.Milliseconds(), 10) + "\n")
	}
	b.WriteString("data: " + string(body) + "\n\n")
	return []byte(b.String())
}
