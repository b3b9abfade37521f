package placement

import (
	"cmp"
	"math/bits"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"
)

// circle is a ring of hashes on which each reader has many points.
type circle struct {
	fleet
	virtualNodes int
	points       []point // ascending by hash
	// index has for each part of the ring, by the first bits of a hash, the first point that is in it or after it. There are as many
	// parts as points, or a few more, so that from there it is a step or two.
	index []int32
	shift int
}

type point struct {
	hash   uint64
	reader Reader
}

func (c *circle) Add(name string) Reader {
	reader := c.add()
	for i := range c.virtualNodes {
		c.points = append(c.points, point{xxhash.Sum64String(name + "#" + strconv.Itoa(i)), reader})
	}
	c.arrange()
	return reader
}

func (c *circle) Remove(reader Reader) {
	c.remove(reader)
	c.points = slices.DeleteFunc(c.points, func(p point) bool { return p.reader == reader })
	c.arrange()
}

func (c *circle) arrange() {
	slices.SortFunc(c.points, func(a, b point) int { return cmp.Compare(a.hash, b.hash) })
	width := bits.Len(uint(len(c.points)))
	c.shift = 64 - width
	c.index = make([]int32, 1<<width)
	next := 0
	for part := range c.index {
		for next < len(c.points) && c.points[next].hash>>c.shift < uint64(part) {
			next++
		}
		c.index[part] = int32(next)
	}
}

// first is the index of the point that follows the video.
func (c *circle) first(video Video) int {
	for i := int(c.index[uint64(video)>>c.shift]); i < len(c.points); i++ {
		if c.points[i].hash >= uint64(video) {
			return i
		}
	}
	return 0
}

// ring sends a video to the reader whose point follows its hash: consistent hashing (Karger et al., "Consistent hashing
// and random trees", STOC 1997). A viewer costs a few steps, however many readers there are. When a reader comes or goes
// about 1/R of the videos move, only to or from it.
type ring struct{ circle }

func (r *ring) Place(video Video) Reader {
	if len(r.points) == 0 {
		return Nowhere
	}
	return r.points[r.first(video)].reader
}

func (r *ring) Move(video Video, _ Reader) Reader { return r.Place(video) }
func (r *ring) Release(Video, Reader)             {}
