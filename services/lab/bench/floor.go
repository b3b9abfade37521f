package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/livecomments/livecomments/services/reader/event"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// Floor is `lab floor`, which the reader is compared with: it sends viewers the same bytes, with one write(2) a comment a
// viewer, and does nothing else.
type Floor struct {
	Viewers int `required:""`
}

// Run accepts the viewers. Then it reads workloads from standard input, a line each, and prints a line after each.
func (f *Floor) Run(context.Context) error {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	viewers := make([]int, 0, f.Viewers)
	for range f.Viewers {
		fd, err := accept(listener)
		if err != nil {
			return err
		}
		viewers = append(viewers, fd)
	}
	fmt.Println("all viewers are connected")
	number := uint64(0)
	for input := bufio.NewReader(os.Stdin); ; {
		var w workload
		if _, err := fmt.Fscanln(input, &w.comments, &w.every, &w.length); err != nil {
			return nil //nolint:nilerr // the benchmark has closed it
		}
		for next := time.Now(); w.comments > 0; w.comments-- {
			time.Sleep(time.Until(next))
			next = next.Add(w.every)
			number++
			frame, err := floorFrame(number, w.length)
			if err != nil {
				return err
			}
			for _, fd := range viewers {
				if err := write(fd, frame); err != nil {
					return err
				}
			}
		}
		fmt.Println("done")
	}
}

// accept accepts one viewer, whose socket is as the reader would have it.
func accept(listener net.Listener) (fd int, err error) {
	connection, err := listener.Accept()
	if err != nil {
		return 0, err
	}
	defer func() { _ = connection.Close() }()
	if _, err := bufio.NewReader(connection).ReadString('\n'); err != nil {
		return 0, err
	}
	if _, err := connection.Write(floorOpening()); err != nil {
		return 0, err
	}
	raw, err := connection.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	if errControl := raw.Control(func(held uintptr) { fd, err = syscall.Dup(int(held)) }); errControl != nil {
		return 0, errControl
	}
	return fd, err
}

// floorOpening is the head of the answer, and the first event.
func floorOpening() []byte {
	at := comment.ID{}
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	return append([]byte(head), chunk(event.Connected("viewer", "floor", "floor", &at, time.Second))...)
}

// floorFrame is what the floor writes for one comment, which is what the reader would write.
func floorFrame(number uint64, length int) ([]byte, error) {
	c := newComment(number, "floor", length)
	data, err := json.Marshal(c)
	return chunk(event.Comment(comment.ID{Millis: uint64(c.Timestamp.UnixMilli()), Sequence: number}, string(data))), err
}

// chunk is data as one chunk of a chunked body.
func chunk(data []byte) []byte { return fmt.Appendf(nil, "%x\r\n%s\r\n", len(data), data) }

// post has the floor send a workload, and returns when it has.
func (p *floorProcess) post(_ context.Context, w workload) error {
	if _, err := fmt.Fprintln(p.stdin, w.comments, w.every.Nanoseconds(), w.length); err != nil {
		return err
	}
	_, err := p.stdout.ReadString('\n')
	return err
}
