package audience

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"

	"github.com/livecomments/livecomments/services/lab/crowd"
)

// Command is `lab crowd`: a crowd that is led over standard input, a line of JSON for each order, and answers each with a line of
// JSON. It ends when its input does.
type Command struct {
	// In and Out are standard input and output where they are nil.
	In  io.Reader `kong:"-"`
	Out io.Writer `kong:"-"`
}

// order is a line of the input.
type order struct {
	// Connect has viewers connect, if it is not nil. It does not wait until they have.
	Connect *part `json:"connect,omitempty"`
	// Reset has the crowd begin its counts and times anew; the answer has those until then.
	Reset bool `json:"reset,omitempty"`
}

// part is what one crowd has of an Assembly: the viewers with the numbers from From up to, but without, To.
type part struct {
	Assembly
	From int `json:"from"`
	To   int `json:"to"`
}

// answer is a line of the output: what the crowd has seen after the order, and why it could not follow it.
type answer struct {
	Figures crowd.Figures `json:"figures"`
	Error   string        `json:"error,omitempty"`
}

// Run follows orders until there are no more.
func (c *Command) Run(context.Context) error {
	if c.In == nil {
		c.In = os.Stdin
	}
	if c.Out == nil {
		c.Out = os.Stdout
	}
	l := &led{}
	defer l.close()
	input, output := json.NewDecoder(c.In), json.NewEncoder(c.Out)
	for {
		var o order
		switch err := input.Decode(&o); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := output.Encode(l.follow(o)); err != nil {
			return err
		}
	}
}

// led is a crowd from its first viewers on.
type led struct{ crowd *crowd.Crowd }

func (l *led) close() {
	if l.crowd != nil {
		l.crowd.Close()
	}
}

func (l *led) follow(o order) answer {
	if o.Connect != nil {
		if err := l.connect(o.Connect); err != nil {
			return answer{Error: err.Error()}
		}
	}
	switch {
	case l.crowd == nil:
		return answer{}
	case o.Reset:
		return answer{Figures: l.crowd.Reset()}
	default:
		return answer{Figures: l.crowd.Figures()}
	}
}

func (l *led) connect(p *part) (err error) {
	if l.crowd == nil {
		l.crowd, err = crowd.New(p.Doors...)
	} else {
		err = l.crowd.SetDoors(p.Doors...)
	}
	if err != nil {
		return err
	}
	viewers := make([]crowd.Viewer, 0, p.To-p.From)
	for number := p.From; number < p.To; number++ {
		viewers = append(viewers, crowd.Viewer{Video: Video(number % p.Videos), Returning: true})
	}
	return l.crowd.Connect(p.AtOnce, viewers...)
}

// Video is the id of a video by its number. The simulation has the same ids.
func Video(number int) string { return "video" + strconv.Itoa(number+1) }
