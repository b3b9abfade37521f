package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/livecomments/livecomments/services/reader/event"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// Floor is `lab floor`, the other side of the benchmark: it gives viewers the same frames with one write(2) each, and does
// nothing else.
type Floor struct {
	Viewers int `required:""`
}

// order is what a poster is to do, and what the floor is told on its standard input.
type order struct {
	comments int
	every    time.Duration
	length   int
}

// Run accepts the viewers, then does as it is told, line by line, and answers each line when it is done.
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
	fmt.Println("all are here")
	number := uint64(0)
	for orders := bufio.NewReader(os.Stdin); ; {
		var o order
		if _, err := fmt.Fscanln(orders, &o.comments, &o.every, &o.length); err != nil {
			return nil //nolint:nilerr // nobody orders any more
		}
		for next := time.Now(); o.comments > 0; o.comments-- {
			time.Sleep(time.Until(next))
			next = next.Add(o.every)
			number++
			frame, err := floorFrame(number, o.length)
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

// accept takes one viewer in, with the same socket that the reader would have.
func accept(listener net.Listener) (fd int, err error) {
	connection, err := listener.Accept()
	if err != nil {
		return 0, err
	}
	defer func() { _ = connection.Close() }()
	if _, err := bufio.NewReader(connection).ReadString('\n'); err != nil {
		return 0, err
	}
	at := comment.ID{}
	if _, err := io.WriteString(connection, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"+
		string(event.Connected("viewer", "floor", "floor", &at, time.Second))); err != nil {
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

func floorFrame(number uint64, length int) ([]byte, error) {
	c := numbered(number, "floor", length)
	data, err := json.Marshal(c)
	return event.Comment(comment.ID{Millis: uint64(c.Timestamp.UnixMilli()), Sequence: number}, string(data)), err
}

// obey has the floor post as ordered.
func (p *process) obey(_ context.Context, o order) error {
	if _, err := fmt.Fprintln(p.stdin, o.comments, o.every.Nanoseconds(), o.length); err != nil {
		return err
	}
	_, err := p.stdout.ReadString('\n')
	return err
}
