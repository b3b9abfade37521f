// Package task runs tasks beside what a service does, and ends them after it.
package task

import (
	"context"
	"sync"
)

// Start runs tasks with the values of ctx, but not its end: they can outlive it. stop ends the context of the tasks and
// returns when all of them have returned.
func Start(ctx context.Context, tasks ...func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	for _, task := range tasks {
		running.Go(func() { task(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}
