package port

import (
	"os"
	"syscall"
)

// Reserve reserves a port until Release. Whoever asks for any free port is not given it. A server that asks for it by number
// gets it, also when it is started again: the port is bound, and Linux lets another socket listen at a bound port where both
// have SO_REUSEADDR, as servers do, and the first does not listen.
func Reserve() (*Reservation, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	number, err := bind(fd)
	if err != nil {
		_ = syscall.Close(fd)
		return nil, err
	}
	return &Reservation{Number: number, release: func() { _ = syscall.Close(fd) }}, nil
}

func bind(fd int) (number int, err error) {
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	address, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return address.(*syscall.SockaddrInet4).Port, nil //nolint:forcetypeassert // the socket is of AF_INET
}
