package fleet

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/placement"
)

// Member is a reader as it has announced itself.
type Member struct {
	Instance string `json:"instance"`
	// Address is the base URL at which viewers reach it.
	Address string `json:"address"`
	// Process is a random number of the process: it tells one that was restarted, or another of the same name.
	Process uint64 `json:"-"`
	// Policy names how it places viewers. Readers of different policies do not place viewers on each other.
	Policy string `json:"policy"`
	// Viewers is the streams that it holds, Misplaced those of them that belong elsewhere, Capacity the most that it takes.
	Viewers   int `json:"viewers"`
	Misplaced int `json:"misplaced"`
	Capacity  int `json:"capacity"`
	// Deliveries is comments written to viewers a second.
	Deliveries int `json:"deliveriesPerSecond"`
	// Arrived counts viewers that have come because another reader had sent them to it.
	Arrived uint64 `json:"arrived"`
	// Draining readers take no more viewers. Unreachable ones have been sent viewers who never came.
	Draining    bool `json:"draining"`
	Unreachable bool `json:"unreachable"`
	// Large is the audiences that others should know of.
	Large []Audience `json:"-"`
	// At is when it has announced this, by Redis' clock.
	At time.Time `json:"-"`
}

// Audience is how many viewers of a video a reader has.
type Audience struct {
	Video   placement.Video
	Viewers int
}

// format is the first word of an announcement. One of another format is of another version, and passed over.
const format = "1"

// encode spells an announcement: words with a space between, because every reader reads those of all others every second.
// Neither a policy nor an address has a space in it.
func (m Member) encode() string {
	flags := "-"
	if m.Draining {
		flags += "d"
	}
	if m.Unreachable {
		flags += "u"
	}
	text := fmt.Sprintf("%s %x %s %d %d %d %d %d %s %s", format, m.Process, flags, m.Viewers, m.Misplaced, m.Capacity, m.Deliveries, m.Arrived, m.Policy, m.Address)
	for _, large := range m.Large {
		text += fmt.Sprintf(" %x:%d", uint64(large.Video), large.Viewers)
	}
	return text
}

// words is how many an announcement has before its large audiences.
const words = 10

func parse(instance string, entry broker.Entry) (m Member, err error) {
	text := strings.Fields(entry.Text)
	if len(text) < words || text[0] != format {
		return m, errors.New("it is not of this version")
	}
	m = Member{
		Instance: instance, At: entry.At, Policy: text[8], Address: text[9],
		Draining: strings.Contains(text[2], "d"), Unreachable: strings.Contains(text[2], "u"),
	}
	for i, number := range []*int{&m.Viewers, &m.Misplaced, &m.Capacity, &m.Deliveries} {
		if *number, err = strconv.Atoi(text[3+i]); err != nil || *number < 0 {
			return m, fmt.Errorf("%q is no count", text[3+i])
		}
	}
	if m.Process, err = strconv.ParseUint(text[1], 16, 64); err != nil {
		return m, err
	}
	if m.Arrived, err = strconv.ParseUint(text[7], 10, 64); err != nil {
		return m, err
	}
	for _, large := range text[words:] {
		video, viewers, _ := strings.Cut(large, ":")
		hash, errVideo := strconv.ParseUint(video, 16, 64)
		n, errViewers := strconv.Atoi(viewers)
		if err := errors.Join(errVideo, errViewers); err != nil || n < 0 {
			return m, fmt.Errorf("%q is no audience", large)
		}
		m.Large = append(m.Large, Audience{placement.Video(hash), n})
	}
	return m, nil
}
