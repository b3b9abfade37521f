package fanout

import (
	"bytes"
	"strconv"
)

// A stream's body is chunked for viewers who speak HTTP/1.1 (RFC 9112, section 7.1), and ends with the connection for others.
// An event is one chunk, so clients that hand over a chunk at a time hand over each event at once.

// lastChunk ends a chunked body.
const lastChunk = "0\r\n\r\n"

const lineEnd = "\r\n"

// chunk makes an event one chunk. The event must not be empty: a chunk without bytes ends the body.
func chunk(event []byte) []byte {
	c := make([]byte, 0, len(event)+12)
	c = strconv.AppendInt(c, int64(len(event)), 16)
	c = append(c, lineEnd...)
	c = append(c, event...)
	return append(c, lineEnd...)
}

// unchunk is the event of a chunk, which it shares.
func unchunk(c []byte) []byte {
	return c[bytes.IndexByte(c, '\n')+1 : len(c)-len(lineEnd)]
}
