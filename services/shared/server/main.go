package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/livecomments/livecomments/services/shared/config"
)

// Main is the whole main function of a service: it reads the environment and the arguments into cfg, a pointer to the
// service's Config, calls run until the process is told to stop, and returns the exit status: 0 after a clean stop, 1 when
// the service failed, 2 when a setting is bad. What went wrong is one line on standard error.
func Main[C any](name string, run func(context.Context, C) error) int {
	var cfg C
	if err := config.Load(name, os.Args[1:], &cfg); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, cfg)
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, err)
	var bad *config.Error
	if errors.As(err, &bad) {
		return 2
	}
	return 1
}
