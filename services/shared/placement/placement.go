// Package placement decides which reader serves a viewer of a video.
//
// The obvious design sends viewers anywhere, so that every reader subscribes to a part of nearly every video. The other
// strategies keep the viewers of a video together. They differ in what that costs when a video is large or the fleet changes:
//
//	strategy   copies of a comment        busiest reader ÷ mean      viewers that move when a reader is added or lost
//	random     up to one for each reader  about 1                    those of the lost reader
//	registry   1                          unbounded for a celebrity  those of the lost reader
//	hash       1                          unbounded for a celebrity  1/R of them
//	ring       1                          unbounded for a celebrity  about 1/R
//	bounded    1, more for a celebrity    at most 1+ε                about 1/R, and those that the new bound displaces
//
// R is the number of readers. Placing a viewer has two steps. Candidates gives the order in which a video's viewers try the
// readers, from the names of the readers alone. Pick chooses among them, from loads that the caller counts. Neither step
// keeps a count of its own, so there is nothing to undo when a viewer leaves.
//
// Each strategy is one file of this package and one line of the table in strategies.go.
package placement

import (
	"iter"

	"github.com/cespare/xxhash/v2"
)

// Video is the hash of a video's id. Among a million ids, two have the same hash with a probability of about 3 in 100 million;
// such videos are only placed together.
type Video uint64

// VideoOf hashes a video's id.
func VideoOf(id string) Video { return Video(xxhash.Sum64String(id)) }

// Reader is a reader's index in the list of names that New was given.
type Reader int

// Nowhere is the Reader of a viewer that has none.
const Nowhere Reader = -1

// Strategy places viewers on one fleet of readers, which does not change: another fleet is another Strategy. Methods may be
// called concurrently, except Pick of registry, which writes to its Table, and Pick of random with a source of its own.
type Strategy interface {
	// Candidates returns the order in which viewers of the video try the readers. It depends on the names of the readers and
	// on the video, so that all processes compute the same order, and it may be kept for all viewers of the video.
	Candidates(video Video) Candidates
	// Pick returns the reader for one viewer: the first of the candidates that has room for it under the loads. It returns
	// Nowhere in an empty fleet, and only there.
	Pick(candidates Candidates, loads Loads) Reader
	// Sticky reports whether a viewer stays on its reader for as long as that reader is in the fleet. Where it is false, a viewer
	// belongs to what Pick returns now.
	Sticky() bool
}

// Candidates are the readers in the order in which viewers of one video try them. Strategies that prefer no reader, which
// are random and registry, have the readers in the order of the list that New was given.
type Candidates struct {
	Video Video
	// First is the first reader, or Nowhere in an empty fleet. It is computed at once, because most viewers need no other.
	First Reader
	// Others are the readers after First, each once. They are computed as far as they are asked for.
	Others iter.Seq[Reader]
}

// All returns the candidates in order, each reader once.
func (c Candidates) All() iter.Seq[Reader] {
	return func(yield func(Reader) bool) {
		if c.First != Nowhere && yield(c.First) {
			c.Others(yield)
		}
	}
}

// Loads are the numbers of viewers that Pick decides by. The caller counts them. None of them includes the viewer that is
// being placed.
type Loads struct {
	// Viewers has the number of viewers of each Reader.
	Viewers []int
	// Total is the number of viewers of the whole fleet. It includes those that have lost their reader and wait for another, so
	// it is at least the sum of Viewers.
	Total int
	// Audience is the number of viewers of the same video in the whole fleet. It may be an estimate: bounded only compares it
	// with what makes a video large, and registry with 0.
	Audience int
}

// none are the candidates in an empty fleet.
func none(video Video) Candidates {
	return Candidates{Video: video, First: Nowhere, Others: func(func(Reader) bool) {}}
}

// asListed are the candidates of a strategy that prefers no reader.
func asListed(video Video, readers int) Candidates {
	if readers == 0 {
		return none(video)
	}
	return Candidates{Video: video, First: 0, Others: func(yield func(Reader) bool) {
		for reader := 1; reader < readers; reader++ {
			if !yield(Reader(reader)) {
				return
			}
		}
	}}
}
