package placement

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Hash is highest random weight hashing: the candidates of a video are the readers in descending order of a hash of both
// (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking 6(1), 1998).
// The videos of a lost reader spread evenly over the others; a new reader takes an even part from each.
const Hash Name = "hash"

// hash computes one weight for each reader to find a video's first candidate.
type hash struct{ readers []seeded }

// seeded is a reader with the hash of its name.
type seeded struct {
	reader Reader
	seed   uint64
}

func newHash(readers []string, _ Options) Strategy {
	h := &hash{make([]seeded, len(readers))}
	for i, name := range readers {
		h.readers[i] = seeded{Reader(i), xxhash.Sum64String(name)}
	}
	// Readers of equal weight come in the order of their names, whatever order they are listed in.
	slices.SortFunc(h.readers, func(a, b seeded) int { return strings.Compare(readers[a.reader], readers[b.reader]) })
	return h
}

func (h *hash) Candidates(video Video) Candidates {
	if len(h.readers) == 0 {
		return none(video)
	}
	first, highest := h.readers[0].reader, h.readers[0].weight(video)
	for _, reader := range h.readers[1:] {
		if weight := reader.weight(video); weight > highest {
			first, highest = reader.reader, weight
		}
	}
	return Candidates{Video: video, First: first, Others: h.others(video)}
}

// others sorts the readers by their weight for the video, and yields all but the first.
func (h *hash) others(video Video) iter.Seq[Reader] {
	return func(yield func(Reader) bool) {
		sorted := slices.Clone(h.readers)
		slices.SortStableFunc(sorted, func(a, b seeded) int { return cmp.Compare(b.weight(video), a.weight(video)) })
		for _, reader := range sorted[1:] {
			if !yield(reader.reader) {
				return
			}
		}
	}
}

func (h *hash) Pick(candidates Candidates, _ Loads) Reader { return candidates.First }

func (h *hash) Sticky() bool { return false }

// weight is a hash of the reader and the video: the finalizer of MurmurHash3, in which every bit of the input changes every
// bit of the result with a probability of about one half.
func (s seeded) weight(video Video) uint64 {
	x := uint64(video) ^ s.seed
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
