package fanout

import (
	"errors"
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
	// watch has the writer signalled, with token, when the socket becomes writable and when the viewer leaves.
	watch(token uint64) error
	// held is how many bytes the kernel has been given that the viewer's side has not taken; 0 where that is not known.
	held() int
	// silence is how long ago the viewer's host has last answered; 0 where that is not known.
	silence() time.Duration
	// close ends the connection once the viewer has been sent what was written. abort drops that instead: a viewer that takes
	// nothing would have the kernel keep it for minutes.
	close(abort bool)
}

var errWouldBlock = errors.New("the socket takes no more for now")

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

func (p *piecewise) held() int { return 0 }

func (p *piecewise) silence() time.Duration { return 0 }

func (p *piecewise) close(abort bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if abort || !p.busy {
		_ = p.connection.Close()
		return
	}
	_ = p.connection.SetWriteDeadline(time.Now().Add(lastPiece))
}
