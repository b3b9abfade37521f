package fanout

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/livecomments/livecomments/services/shared/secure"
)

// descriptor is the socket for what the kernel can poll. Its descriptor is taken out of Go's runtime, which would keep
// some hundred bytes for it and its locks, so that a write is the system call and nothing else.
type descriptor struct {
	fd     int32
	given  uint32 // bytes that the kernel took, modulo 2^32
	poller *epoll
}

func newSocket(connection net.Conn, w *writer) socket {
	if fd, err := detach(secure.Below(connection)); err == nil {
		// Heartbeats find out that a host is gone, and cost no more. The kernel's own probes would be a packet every 15 s for each of
		// a million streams, and where it drops them under load, it ends streams that are well.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0) // of what is not TCP there are none
		d := descriptor{fd: int32(fd), poller: w.poller.(*epoll)}         //nolint:forcetypeassert,gosec // there is no other here; a descriptor
		if above, ok := connection.(*tls.Conn); ok {
			return newSecured(above, d)
		}
		return &d
	}
	return &piecewise{connection: connection, writer: w}
}

// detach closes connection and returns its socket, open and in non-blocking mode as it was.
func detach(connection net.Conn) (fd int, err error) {
	holder, ok := connection.(syscall.Conn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := holder.SyscallConn()
	if err != nil {
		return 0, err
	}
	var errDup error
	err = raw.Control(func(held uintptr) { fd, errDup = unix.FcntlInt(held, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, errDup); err == nil {
		_ = connection.Close() // of what it held, the socket is still open
	}
	return fd, err
}

// write makes the system call without telling Go's scheduler, which would give the processor away: a socket in non-blocking
// mode never sleeps, and about a tenth of a delivery's cost is saved.
func (d *descriptor) write(p []byte) (int, error) {
	for {
		r, _, err := unix.RawSyscall(unix.SYS_WRITE, uintptr(d.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p))) //nolint:gosec // p is never empty
		n := int(r)
		switch err {
		case 0:
			d.given += uint32(n) //nolint:gosec // modulo 2^32
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, errWouldBlock
		default:
			return 0, err
		}
	}
}

// flush has nothing to do: what the kernel has not taken, write has not.
func (d *descriptor) flush() error { return nil }

// receive leaves what comes to the kernel: it counts for nothing.
func (d *descriptor) receive() error { return nil }

func (d *descriptor) watch(token uint64) error { return d.poll(token, unix.EPOLLOUT) }

// poll has the writer signalled of these events, and when the viewer leaves.
func (d *descriptor) poll(token uint64, events uint32) error {
	// Edge-triggered, it is asked for once: the kernel tells of it when a socket that took no more takes more again.
	event := unix.EpollEvent{Events: events | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(token), Pad: int32(token >> 32)} //nolint:gosec // two halves
	return unix.EpollCtl(d.poller.fd, unix.EPOLL_CTL_ADD, int(d.fd), &event)
}

func (d *descriptor) held() (held int, taken uint32) {
	held, _ = unix.IoctlGetInt(int(d.fd), unix.SIOCOUTQ) // of what is not TCP nothing is known to be held
	return held, d.given - uint32(held)                  //nolint:gosec // modulo 2^32
}

// silence is short where only the viewer's program does not read: its host answers when asked whether there is room again.
func (d *descriptor) silence() time.Duration {
	info, err := unix.GetsockoptTCPInfo(int(d.fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return time.Duration(info.Last_ack_recv) * time.Millisecond
}

func (d *descriptor) close(abort bool) {
	if abort {
		_ = unix.SetsockoptLinger(int(d.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(int(d.fd))
}

// epoll is the poller for descriptors.
type epoll struct {
	fd   int
	file *os.File
}

func newPoller() (poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	// An epoll can be polled itself: while nothing happens it holds a goroutine in Go's own poller, and no thread.
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &epoll{fd: fd, file: os.NewFile(uintptr(fd), "epoll")}, nil
}

func (e *epoll) run(signals func(...signal)) {
	raw, err := e.file.SyscallConn()
	if err != nil {
		return // it is closed already
	}
	events := make([]unix.EpollEvent, 256)
	batch := make([]signal, 0, len(events))
	for {
		n := 0
		if raw.Read(func(fd uintptr) bool { n, _ = unix.EpollWait(int(fd), events, 0); return n > 0 }) != nil {
			return
		}
		batch = batch[:0]
		for _, event := range events[:n] {
			batch = append(batch, signal{
				token: uint64(uint32(event.Fd)) | uint64(uint32(event.Pad))<<32, //nolint:gosec // two halves
				left:  event.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0,
				sent:  event.Events&unix.EPOLLIN != 0,
			})
		}
		signals(batch...)
	}
}

func (e *epoll) close() { _ = e.file.Close() }
