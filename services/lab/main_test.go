package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestABadCommandLineIsExitStatus2(t *testing.T) {
	for _, args := range [][]string{
		{}, {"down"}, {"up", "--readers=x"}, {"up", "--readers=0"}, {"up", "--popularity=normal"}, {"up", "--viewers=1"}, {"up", "--redis-url=nonsense", "--comment-port=0", "--reader-port=0", "--statistics-port=0"}, {"up", "surplus"}, {"settings", "--write=nowhere.md"},
	} {
		assert.Equal(t, 2, run(args), "%v", args)
	}
}

func TestAFailureIsExitStatus1(t *testing.T) {
	assert.Equal(t, 1, run([]string{"up", "--host=192.0.2.1", "--comment-port=0", "--reader-port=0", "--statistics-port=0"}))
}
