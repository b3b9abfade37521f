package broker

import (
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// quiet is a connection whose reads do not tell Go's scheduler. They never sleep, as the socket is in non-blocking mode and
// Go's poller waits before them; but told of a system call in a process that was idle, the runtime's monitor wakes and looks
// fifty times within milliseconds whether it has ended. For a reader that is idle between comments that was
// measured to be 8 % of what a comment to 2,000 viewers costs.
type quiet struct {
	*net.TCPConn
	raw syscall.RawConn
}

// hush makes connection quiet. With one processor it does not: there the monitor is who looks after the network while a
// goroutine computes.
func hush(connection net.Conn) net.Conn {
	tcp, ok := connection.(*net.TCPConn)
	if !ok || runtime.GOMAXPROCS(0) == 1 {
		return connection
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return connection
	}
	return &quiet{tcp, raw}
}

// Read reads as that of net.TCPConn does.
func (q *quiet) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var n uintptr
	var code syscall.Errno
	err := q.raw.Read(func(fd uintptr) bool {
		for {
			n, _, code = syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p))) //nolint:gosec // p is not empty
			if code != syscall.EINTR {
				return code != syscall.EAGAIN
			}
		}
	})
	switch {
	case err != nil:
		return 0, err
	case code != 0:
		return 0, os.NewSyscallError("read", code)
	case n == 0:
		return 0, io.EOF
	}
	return int(n), nil
}
