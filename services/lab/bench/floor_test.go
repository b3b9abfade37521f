package bench

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tmaxmax/go-sse"
)

func TestTheFloorSendsAStreamWithOneChunkAComment(t *testing.T) {
	sent := bytes.NewBuffer(floorOpening())
	for n := range uint64(3) {
		frame, err := floorFrame(n+1, shortText)
		require.NoError(t, err)
		size, rest, _ := bytes.Cut(frame, []byte("\r\n"))
		content, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(append(frame, "0\r\n\r\n"...))))
		require.NoError(t, err)
		assert.Equal(t, string(content)+"\r\n", string(rest), "after the size %s", size)
		sent.Write(frame)
	}
	sent.WriteString("0\r\n\r\n")

	response, err := http.ReadResponse(bufio.NewReader(sent), nil)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	assert.Equal(t, []string{"chunked"}, response.TransferEncoding)
	var events []sse.Event
	for event, err := range sse.Read(response.Body, nil) {
		require.NoError(t, err)
		events = append(events, event)
	}
	require.Len(t, events, 4)
	assert.Contains(t, events[0].Data, `"connected"`)
	assert.Contains(t, events[3].Data, `"comment":"3 `)
}
