package fanout

import (
	"net"
	"slices"
	"sync"
	"time"
)

// socket is a stream's connection, for its writer.
type socket interface {
	// write gives p to the kernel, as much as it takes without waiting. After errWouldBlock the writer is signalled when it
	// takes more; any other error is that the viewer has left.
	write(p []byte) (int, error)
	// flush gives the kernel what write has taken and the kernel has not. After write has returned errWouldBlock, the viewer has
	// not all of what was taken until flush returns nil. Its errors are those of write.
	flush() error
	// receive takes in what the viewer has sent since, where that counts for the connection. An error is that the viewer has left.
	receive() error
	// watch has the writer signalled, with token, when the socket becomes writable, when there is something to receive, and when
	// the viewer leaves.
	watch(token uint64) error
	// held is how many bytes of what was written the viewer's side has not taken, 0 where that is not known; and taken how many it
	// has, modulo 2^32 and from anywhere.
	held() (held int, taken uint32)
	// silence is how long ago the viewer's host has last answered; 0 where that is not known.
	silence() time.Duration
	// close ends the connection once the viewer has been sent what was written. abort drops that instead: a viewer that takes
	// nothing would have the kernel keep it for minutes.
	close(abort bool)
}

// errWouldBlock is what a system call would wait for. It is a [net.Error], so that crypto/tls takes it for one that passes.
var errWouldBlock net.Error = wouldBlockError{}

type wouldBlockError struct{}

func (wouldBlockError) Error() string   { return "the socket takes no more for now" }
func (wouldBlockError) Timeout() bool   { return true }
func (wouldBlockError) Temporary() bool { return true }

// poller signals what becomes of the sockets of one writer.
type poller interface {
	// run signals until close.
	run(signal func(...signal))
	close()
}

const (
	// pieceBytes is how much of what is written a goroutine takes on at a time; so a writer can see that it goes forward.
	pieceBytes = 16 << 10
	// lastPiece is how long a stream that has ended may take to get its last piece.
	lastPiece = time.Second
)

// piecewise is the socket for any connection: what is written is taken on a piece at a time, and a goroutine waits where
// the kernel would.
type piecewise struct {
	connection net.Conn
	writer     *writer

	mu     sync.Mutex
	token  uint64
	busy   bool
	closed bool
	given  uint32
}

func (p *piecewise) watch(token uint64) error {
	p.mu.Lock()
	p.token = token
	p.mu.Unlock()
	go p.listen(token)
	return nil
}

// listen reads what no viewer has to say, for the end of it.
func (p *piecewise) listen(token uint64) {
	for ignored := make([]byte, 64); ; {
		if _, err := p.connection.Read(ignored); err != nil {
			p.writer.signal(signal{token: token, left: true})
			return
		}
	}
}

func (p *piecewise) write(bytes []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy {
		return 0, errWouldBlock
	}
	piece := slices.Clone(bytes[:min(len(bytes), pieceBytes)])
	p.busy = true
	p.given += uint32(len(piece)) //nolint:gosec // modulo 2^32
	go p.push(piece)
	return len(piece), nil
}

func (p *piecewise) push(piece []byte) {
	_, err := p.connection.Write(piece)
	p.mu.Lock()
	p.busy = false
	token, closed := p.token, p.closed
	p.mu.Unlock()
	if closed {
		_ = p.connection.Close()
		return
	}
	p.writer.signal(signal{token: token, left: err != nil})
}

func (p *piecewise) flush() error { return nil }

func (p *piecewise) receive() error { return nil }

// held counts what is given alone: that a piece follows another tells that the viewer takes something.
func (p *piecewise) held() (int, uint32) { return 0, p.given }

func (p *piecewise) silence() time.Duration { return 0 }

func (p *piecewise) close(abort bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if abort || !p.busy {
		go func() { _ = p.connection.Close() }() // with TLS it says goodbye, which may take a while
		return
	}
	_ = p.connection.SetWriteDeadline(time.Now().Add(lastPiece))
}
