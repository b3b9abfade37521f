package placement

// registry gives a video to a reader when its first viewer comes, in turn or to the one with the fewest viewers, and keeps
// it there until its last viewer has left: a table, as a coordinator or a key in Redis would hold it. A viewer costs a
// look-up; the state is one entry a video, which all who place viewers must share. Only the videos of a lost reader
// move; a new one gets only videos that begin after it.
type registry struct {
	fleet
	videos      map[Video]*entry
	viewers     []int // by Reader
	leastLoaded bool
	turn        int
}

type entry struct {
	reader  Reader
	viewers int
}

func (r *registry) Add(string) Reader {
	r.viewers = append(r.viewers, 0)
	return r.add()
}

func (r *registry) Remove(reader Reader) { r.remove(reader) }

func (r *registry) Place(video Video) Reader {
	if len(r.members) == 0 {
		return Nowhere
	}
	e := r.videos[video]
	if e == nil {
		e = &entry{reader: Nowhere}
		r.videos[video] = e
	}
	if !r.has(e.reader) {
		e.reader = r.assign()
	}
	e.viewers++
	r.viewers[e.reader]++
	return e.reader
}

func (r *registry) assign() Reader {
	if !r.leastLoaded {
		r.turn++
		return r.members[(r.turn-1)%len(r.members)]
	}
	least := r.members[0]
	for _, member := range r.members {
		if r.viewers[member] < r.viewers[least] {
			least = member
		}
	}
	return least
}

func (r *registry) Move(video Video, from Reader) Reader {
	if r.has(from) {
		return from
	}
	r.Release(video, from)
	return r.Place(video)
}

func (r *registry) Release(video Video, from Reader) {
	if from == Nowhere {
		return
	}
	r.viewers[from]--
	if e := r.videos[video]; e != nil {
		if e.viewers--; e.viewers == 0 {
			delete(r.videos, video)
		}
	}
}
