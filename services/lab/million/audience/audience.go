// Package audience is more viewers than one process may have descriptors for: crowds in processes of their own.
package audience

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"golang.org/x/sync/errgroup"

	"github.com/livecomments/livecomments/services/lab/crowd"
	"github.com/livecomments/livecomments/services/lab/process"
)

// Assembly says who comes.
type Assembly struct {
	// Doors are the addresses to one of which each viewer connects.
	Doors []string `json:"doors"`
	// Videos is how many videos there are. Viewers watch them in turn, so that each has as many as the others, within one.
	Videos int `json:"videos"`
	// AtOnce is how many viewers of a crowd connect at a time, at the most.
	AtOnce int `json:"atOnce"`
}

// Audience is crowds in processes of their own. Its methods are for one goroutine.
type Audience struct{ crowds []*remote }

// remote is a crowd in another process.
type remote struct {
	*process.Process
	input   *json.Encoder
	output  *json.Decoder
	answers io.Closer // of output
}

// Start starts so many processes, each of them by the command of a `lab crowd`.
func Start(crowds int, command func() *exec.Cmd) (*Audience, error) {
	a := &Audience{}
	for range crowds {
		r, err := start(command())
		if err != nil {
			a.Close()
			return nil, fmt.Errorf("a crowd of viewers: %w", err)
		}
		a.crowds = append(a.crowds, r)
	}
	return a, nil
}

func start(command *exec.Cmd) (*remote, error) {
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Of exec's own pipe nothing may be read while it waits for the process, as package process does.
	answers, output := io.Pipe()
	command.Stdout = output
	p, err := process.Start("", command)
	if err != nil {
		return nil, err
	}
	go func() {
		<-p.Ended()
		_ = output.Close()
	}()
	return &remote{p, json.NewEncoder(input), json.NewDecoder(answers), answers}, nil
}

// Close ends the processes at once.
func (a *Audience) Close() {
	for _, r := range a.crowds {
		// An answer that nobody reads would hold up the end.
		_ = r.answers.Close()
		r.Kill()
	}
}

// Processes are the crowds' processes.
func (a *Audience) Processes() []*process.Process {
	processes := make([]*process.Process, len(a.crowds))
	for i, r := range a.crowds {
		processes[i] = r.Process
	}
	return processes
}

// Connect has so many viewers come. It does not wait until they have.
func (a *Audience) Connect(viewers int, assembly Assembly) error {
	_, err := a.each(func(i int) order {
		return order{Connect: &part{assembly, viewers * i / len(a.crowds), viewers * (i + 1) / len(a.crowds)}}
	})
	return err
}

// Figures is what all viewers have seen since the last Reset, without the times.
func (a *Audience) Figures() (crowd.Figures, error) {
	return a.each(func(int) order { return order{} })
}

// Reset is [crowd.Crowd.Reset] of all.
func (a *Audience) Reset() (crowd.Figures, error) {
	return a.each(func(int) order { return order{Reset: true} })
}

// each gives each crowd an order, all at the same time, and returns the sum of their figures.
func (a *Audience) each(orderOf func(crowd int) order) (crowd.Figures, error) {
	answers := make([]answer, len(a.crowds))
	var asking errgroup.Group
	for i, r := range a.crowds {
		asking.Go(func() (err error) {
			answers[i], err = r.ask(orderOf(i))
			return err
		})
	}
	var sum crowd.Figures
	if err := asking.Wait(); err != nil {
		return sum, err
	}
	for i := range answers {
		sum.Add(answers[i].Figures)
	}
	return sum, nil
}

func (r *remote) ask(o order) (a answer, err error) {
	if err = r.input.Encode(o); err == nil {
		err = r.output.Decode(&a)
	}
	switch {
	case err != nil:
		return a, fmt.Errorf("a crowd of viewers does not answer: %w", err)
	case a.Error != "":
		return a, errors.New(a.Error)
	}
	return a, nil
}
