// Package redisserver runs redis-server as a process of its own, for tests and measurements.
package redisserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/livecomments/livecomments/services/shared/port"
)

// Server is a redis-server that writes every command to disk before it answers: what it has acknowledged outlives Kill.
type Server struct {
	// Address is its host:port, the same as often as it is started.
	Address string

	binary  string
	args    []string
	log     string
	port    *port.Reservation
	process *exec.Cmd
	ended   chan struct{}
}

func find() (binary string, err error) {
	if binary, err = exec.LookPath("redis-server"); err != nil {
		return "", errors.New("redis-server is not in the PATH: `make prepare` installs it")
	}
	return binary, nil
}

// Version is the version of the redis-server in the PATH, such as 7.0.15.
func Version(ctx context.Context) (string, error) {
	binary, err := find()
	if err != nil {
		return "", err
	}
	answer, err := exec.CommandContext(ctx, binary, "--version").Output() //nolint:gosec // it is redis-server
	if err != nil {
		return "", fmt.Errorf("redis-server --version: %w", err)
	}
	version := regexp.MustCompile(`v=(\S+)`).FindSubmatch(answer)
	if version == nil {
		return "", fmt.Errorf("redis-server --version answers %q", answer)
	}
	return string(version[1]), nil
}

// New makes a server that keeps its data in dir, and does not start it. args are further arguments of redis-server; they come
// last, so they win.
func New(dir string, args ...string) (*Server, error) {
	binary, err := find()
	if err != nil {
		return nil, err
	}
	reserved, err := port.Reserve()
	if err != nil {
		return nil, err
	}
	args = append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(reserved.Number), "--dir", dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no",
	}, args...)
	return &Server{Address: reserved.Address(), binary: binary, args: args, log: filepath.Join(dir, "redis.log"), port: reserved}, nil
}

// Start starts the server and returns when it answers. One that runs already goes on.
func (s *Server) Start(ctx context.Context) error {
	if s.process != nil {
		return nil
	}
	log, err := os.OpenFile(s.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	process := exec.Command(s.binary, s.args...) //nolint:gosec // it is redis-server
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = process.Wait(); close(ended) }()
	s.process, s.ended = process, ended
	if err := s.await(ctx); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// PID is the id of its process, 0 where it does not run.
func (s *Server) PID() int {
	if s.process == nil {
		return 0
	}
	return s.process.Process.Pid
}

// await returns when the server answers.
func (s *Server) await(ctx context.Context) error {
	for !answers(ctx, s.Address) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis-server at %s does not answer: %w", s.Address, ctx.Err())
		case <-s.ended:
			return fmt.Errorf("redis-server has ended: %s", s.lastWords())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// answers reports whether a server has done with loading: it answers PING, be it that it first wants a password.
func answers(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer func() { _ = connection.Close() }()
	if deadline, ok := ctx.Deadline(); ok && connection.SetDeadline(deadline) != nil {
		return false
	}
	if _, err := connection.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(connection).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}

// lastWords is the last line of the server's log.
func (s *Server) lastWords() string {
	log, _ := os.ReadFile(s.log)
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return lines[len(lines)-1]
}

// Kill ends the server at once. One that does not run stays so.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	<-s.ended
	s.process = nil
}

// Close kills the server and gives its port back.
func (s *Server) Close() {
	s.Kill()
	s.port.Release()
}
