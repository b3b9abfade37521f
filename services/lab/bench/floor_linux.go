package bench

import (
	"os"
	"syscall"
	"unsafe"
)

// write makes the system call without telling Go's scheduler, as the reader does; syscall.Write would tell it.
func write(fd int, frame []byte) error {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&frame[0])), uintptr(len(frame))) //nolint:gosec // of a slice that is not empty
	if errno != 0 {
		return os.NewSyscallError("write", errno)
	}
	if int(n) < len(frame) {
		return os.NewSyscallError("write", syscall.EAGAIN)
	}
	return nil
}
