package placement

import "slices"

// Registry assigns a video to a reader when its first viewer comes, and keeps it there until its last viewer has left. New
// videos go to each reader in turn, or to the one with the fewest viewers.
const Registry Name = "registry"

// Table holds the reader of each video, as a coordinator or a hash in Redis would. All who place viewers have to share it.
// The zero Table is empty. It is for one goroutine at a time.
type Table struct {
	readers map[Video]string
	turns   int
}

// registry costs a look-up for each viewer. Of the strategies it is the only one whose Pick changes anything: it writes to
// the Table.
type registry struct {
	names       []string
	readers     map[string]Reader
	table       *Table
	leastLoaded bool
}

func newRegistry(readers []string, options Options) Strategy {
	r := &registry{names: readers, readers: map[string]Reader{}, table: options.Table, leastLoaded: options.LeastLoaded}
	for i, name := range readers {
		r.readers[name] = Reader(i)
	}
	return r
}

func (r *registry) Candidates(video Video) Candidates { return asListed(video, len(r.names)) }

// Pick returns the video's reader. A video that has no viewers, or whose reader is lost, is assigned anew.
func (r *registry) Pick(candidates Candidates, loads Loads) Reader {
	if candidates.First == Nowhere {
		return Nowhere
	}
	if assigned, known := r.table.readers[candidates.Video]; known && loads.Audience > 0 {
		if reader, present := r.readers[assigned]; present {
			return reader
		}
	}
	reader := r.next(loads)
	if r.table.readers == nil {
		r.table.readers = map[Video]string{}
	}
	r.table.readers[candidates.Video] = r.names[reader]
	return reader
}

// next is the reader for the next new video.
func (r *registry) next(loads Loads) Reader {
	if r.leastLoaded {
		return Reader(slices.Index(loads.Viewers, slices.Min(loads.Viewers)))
	}
	reader := Reader(r.table.turns % len(r.names))
	r.table.turns++
	return reader
}

// Sticky is true: only the videos of a lost reader move, and a new reader gets only videos that begin after it has come.
func (r *registry) Sticky() bool { return true }
