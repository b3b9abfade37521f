package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestABadCommandLineIsExitStatus2(t *testing.T) {
	for _, args := range [][]string{
		{},
		{"down"},
		{"settings", "--write=nowhere.md"},
		{"up", "--readers=x"},
		{"up", "--readers=0"},
		{"up", "--popularity=normal"},
		{"up", "--viewers=1"},
		{"up", "surplus"},
		{"up", "--redis-url=nonsense", "--comment-port=0", "--reader-port=0", "--statistics-port=0"},
		{"simulate", "--readers=0"},
		{"simulate", "--viewers=-5"},
		{"simulate", "--viewers", "-5"},
		{"simulate", "--strategies=nearest"},
		{"simulate", "--popularity=normal"},
		{"simulate", "--videos=11", "--viewers=10"},
		{"simulate", "--json", "--csv"},
		{"experiment", "--readers=0"},
		{"experiment", "--readers="},
		{"experiment", "--scene=small"},
		{"experiment", "--only=nothing"},
	} {
		assert.Equal(t, 2, run(args), "%v", args)
	}
}

func TestAFailureIsExitStatus1(t *testing.T) {
	assert.Equal(t, 1, run([]string{"up", "--host=192.0.2.1", "--comment-port=0", "--reader-port=0", "--statistics-port=0"}))
}
