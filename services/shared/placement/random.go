package placement

import "math/rand/v2"

// random sends every viewer to any reader with the same probability: what a plain load balancer does. A viewer costs one
// random number. When a reader is lost its viewers go anywhere; a new one gets only those that come after it.
type random struct {
	fleet
	source *rand.Rand
}

func (r *random) Add(string) Reader    { return r.add() }
func (r *random) Remove(reader Reader) { r.remove(reader) }

func (r *random) Place(Video) Reader {
	if len(r.members) == 0 {
		return Nowhere
	}
	return r.members[r.source.IntN(len(r.members))]
}

func (r *random) Move(video Video, from Reader) Reader {
	if r.has(from) {
		return from
	}
	return r.Place(video)
}

func (r *random) Release(Video, Reader) {}
