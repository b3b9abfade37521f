package placement

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// Ring is consistent hashing: the candidates of a video are the readers in the order in which their points follow its hash on
// a ring (Karger et al., "Consistent hashing and random trees", STOC 1997). When a reader is added or lost, about 1/R of the
// videos move, only to it or from it.
const Ring Name = "ring"

// ring finds the first candidate in a few steps, however many readers there are.
type ring struct {
	readers int
	points  []point // ascending by hash
	// index divides the ring into parts by the first bits of a hash, and has the first point in or after each part. There are at
	// least as many parts as points, so that the search in a part takes a step or two.
	index []int32
	shift int
}

type point struct {
	hash   uint64
	reader Reader
}

func newRing(readers []string, options Options) Strategy { return makeRing(readers, options) }

func makeRing(readers []string, options Options) *ring {
	r := &ring{readers: len(readers), points: make([]point, 0, len(readers)*options.VirtualNodes)}
	for reader, name := range readers {
		for i := range options.VirtualNodes {
			r.points = append(r.points, point{xxhash.Sum64String(name + "#" + strconv.Itoa(i)), Reader(reader)})
		}
	}
	slices.SortFunc(r.points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(readers[a.reader], readers[b.reader]))
	})
	width := bits.Len(uint(len(r.points)))
	r.shift = 64 - width
	r.index = make([]int32, 1<<width)
	next := 0
	for part := range r.index {
		for next < len(r.points) && r.points[next].hash>>r.shift < uint64(part) {
			next++
		}
		r.index[part] = int32(next)
	}
	return r
}

func (r *ring) Candidates(video Video) Candidates {
	if r.readers == 0 {
		return none(video)
	}
	start := r.following(video)
	return Candidates{Video: video, First: r.points[start].reader, Others: r.others(start)}
}

// following is the index of the point that follows the video's hash.
func (r *ring) following(video Video) int {
	for i := int(r.index[uint64(video)>>r.shift]); i < len(r.points); i++ {
		if r.points[i].hash >= uint64(video) {
			return i
		}
	}
	return 0
}

// others goes once round the ring, and yields each reader but the one of the start at its first point.
func (r *ring) others(start int) iter.Seq[Reader] {
	return func(yield func(Reader) bool) {
		passed := make([]bool, r.readers)
		passed[r.points[start].reader] = true
		for i, left := start+1, r.readers-1; left > 0; i++ {
			if i == len(r.points) {
				i = 0
			}
			reader := r.points[i].reader
			if passed[reader] {
				continue
			}
			if !yield(reader) {
				return
			}
			passed[reader] = true
			left--
		}
	}
}

func (r *ring) Pick(candidates Candidates, _ Loads) Reader { return candidates.First }

func (r *ring) Sticky() bool { return false }
