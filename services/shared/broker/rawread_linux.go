package broker

import (
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// rawReader is a connection whose reads bypass Go's scheduler. They never sleep: the socket is in non-blocking mode, and Go's
// poller waits before them. An ordinary read tells the runtime of a system call, and in an idle process that wakes its
// monitor, which then looks some fifty times within milliseconds whether the call has ended. For a reader that is idle
// between comments, that was measured to be 8 % of what a comment to 2,000 viewers costs.
type rawReader struct {
	*net.TCPConn
	raw syscall.RawConn
}

// rawReads returns connection with raw reads. With one processor it returns connection unchanged: there, the monitor is what
// polls the network while a goroutine computes.
func rawReads(connection net.Conn) net.Conn {
	tcp, ok := connection.(*net.TCPConn)
	if !ok || runtime.GOMAXPROCS(0) == 1 {
		return connection
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return connection
	}
	return &rawReader{tcp, raw}
}

// Read reads as that of net.TCPConn does.
func (r *rawReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	var n uintptr
	var code syscall.Errno
	err := r.raw.Read(func(fd uintptr) bool {
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
