package task_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/shared/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTasksOutliveTheContextAndEndWithStop(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	running, ended := make(chan any, 2), make(chan struct{}, 2)
	run := func(ctx context.Context) {
		running <- ctx.Value(key{})
		<-ctx.Done()
		ended <- struct{}{}
	}
	stop := task.Start(ctx, run, run)
	cancel()
	for range 2 {
		assert.Equal(t, "value", <-running)
	}
	assert.Empty(t, ended, "they go on after their caller's context has ended")
	stop()
	assert.Len(t, ended, 2)
}
