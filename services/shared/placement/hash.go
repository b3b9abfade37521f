package placement

import "github.com/cespare/xxhash/v2"

// remembered is how many videos' places are kept at the most, because videos come and go.
const remembered = 1 << 20

// rendezvous sends a video to the reader whose weight for it is the highest, a hash of both: highest random weight hashing
// (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking 6(1),
// 1998). A video costs two multiplications a reader, and is then remembered until the fleet changes. When a reader is lost its
// videos spread evenly over the others; a new one takes an even part from each.
type rendezvous struct {
	fleet
	seeds  []uint64 // by Reader
	places map[Video]Reader
}

func (r *rendezvous) Add(name string) Reader {
	clear(r.places)
	r.seeds = append(r.seeds, xxhash.Sum64String(name))
	return r.add()
}

func (r *rendezvous) Remove(reader Reader) {
	clear(r.places)
	r.remove(reader)
}

func (r *rendezvous) Place(video Video) Reader {
	if place, known := r.places[video]; known {
		return place
	}
	place := r.highest(video, func(Reader) bool { return true })
	if len(r.places) == remembered {
		clear(r.places)
	}
	r.places[video] = place
	return place
}

// highest is the reader with the highest weight for the video of those that may be.
func (r *rendezvous) highest(video Video, may func(Reader) bool) Reader {
	best, highest := Nowhere, uint64(0)
	for _, member := range r.members {
		if weight := mix(uint64(video) ^ r.seeds[member]); (best == Nowhere || weight > highest) && may(member) {
			best, highest = member, weight
		}
	}
	return best
}

func (r *rendezvous) Move(video Video, _ Reader) Reader { return r.Place(video) }
func (r *rendezvous) Release(Video, Reader)             {}

// mix is the finalizer of MurmurHash3: every bit of x changes every bit of the result with a probability of about one half.
func mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
