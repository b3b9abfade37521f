package placement

// bounded is a ring on which no reader takes more than (1+ε) × the mean: a viewer that finds the reader after its video's
// hash full goes on round the ring to the next that is not: consistent hashing with bounded loads (Mirrokni, Thorup and
// Zadimoghaddam, SODA 2018, arXiv:1608.01350). So a celebrity spreads over as many readers as it needs, and the others stay
// whole.
//
// The paper leaves open which viewers a full reader passes on. Any latecomer would be the simplest, but then each of the
// thousand small videos beside a celebrity has a few viewers elsewhere, and all their comments are copied. Here the large
// videos' viewers go on a little earlier than the others', and leave the last of the room to the small.
//
// A viewer costs a few steps on the ring, a look-up, and a step for each full point. The state is a count for each reader and each
// video, which all who place viewers must share. When a reader comes or goes about 1/R of the viewers move, and those that
// the changed bound pushes over.
type bounded struct {
	circle
	epsilon  float64
	viewers  []int // by Reader
	total    int
	audience map[Video]int
}

// reserve is the part of the room above the mean that large videos leave to the others.
const reserve = 0.25

func (b *bounded) Add(name string) Reader {
	b.viewers = append(b.viewers, 0)
	return b.circle.Add(name)
}

func (b *bounded) Place(video Video) Reader {
	if len(b.members) == 0 {
		return Nowhere
	}
	b.total++
	b.audience[video]++
	reader := b.find(video)
	b.viewers[reader]++
	return reader
}

// find walks the ring from the video's place to a reader with room. There is one, because all readers' room together is
// more than all viewers.
func (b *bounded) find(video Video) Reader {
	mean := float64(b.total) / float64(len(b.members))
	room := b.epsilon
	// Large is what alone could take a reader from the mean to the bound.
	if float64(b.audience[video]) > b.epsilon*mean {
		room *= 1 - reserve
	}
	for i := b.first(video); ; i++ {
		if i == len(b.points) {
			i = 0
		}
		// With this viewer, and by less than one over: a reader holds whole viewers.
		if reader := b.points[i].reader; float64(b.viewers[reader]) < (1+room)*mean {
			return reader
		}
	}
}

// Move places the viewer as if it came now. Where neither its video's way round the ring nor what is full on it has changed,
// that is where it is.
func (b *bounded) Move(video Video, from Reader) Reader {
	if from == Nowhere || len(b.members) == 0 {
		b.Release(video, from)
		return b.Place(video)
	}
	b.viewers[from]--
	reader := b.find(video)
	b.viewers[reader]++
	return reader
}

func (b *bounded) Release(video Video, from Reader) {
	if from == Nowhere {
		return
	}
	b.viewers[from]--
	b.total--
	if b.audience[video]--; b.audience[video] == 0 {
		delete(b.audience, video)
	}
}
