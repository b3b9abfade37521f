package experiment

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/port"
	"github.com/livecomments/livecomments/services/shared/redisserver"
)

// binary is the path of a service.
func (c *Command) binary(service string) string {
	if c.Bin != "" {
		return filepath.Join(c.Bin, service)
	}
	beside, err := process.Beside(service)
	if err != nil {
		return service
	}
	return beside
}

// system is a whole system of processes on this machine, without viewers.
type system struct {
	*experiment
	routing placement.Name
	dir     string // of Redis' data and of the proxy's configuration
	redis   *redisserver.Server
	comment *process.Process
	readers []*reader
	proxy   *process.Process // nil where viewers connect to the readers
	ports   []*port.Reservation
}

// reader is one that runs, or has run.
type reader struct {
	name string
	*process.Process
	leaving bool // it was told to stop, or killed
}

// start starts a system, and returns when its readers know each other.
func (e *experiment) start(ctx context.Context, routing placement.Name, readers int) (s *system, err error) {
	s = &system{experiment: e, routing: routing}
	defer func() {
		if err != nil {
			s.close()
			s = nil
		}
	}()
	if s.dir, err = os.MkdirTemp("", "livecomments-experiment-"); err != nil {
		return s, err
	}
	// As a deployment has it: what is lost in a crash of the machine is at most a second.
	if s.redis, err = redisserver.New(s.dir, "--loglevel", "warning", "--appendfsync", "everysec"); err != nil {
		return s, err
	}
	starting, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err = s.redis.Start(starting); err != nil {
		return s, err
	}
	if s.comment, err = s.serve(ctx, "comment"); err != nil {
		return s, err
	}
	if err = s.addReaders(ctx, readers); err != nil {
		return s, err
	}
	return s, s.awaitFleet(ctx)
}

// serve starts a service with the settings that all have, and with others.
func (s *system) serve(ctx context.Context, service string, settings ...string) (*process.Process, error) {
	reserved, err := s.reserve()
	if err != nil {
		return nil, err
	}
	return process.Serve(ctx, reserved, s.binary(service), append(s.settings(), settings...)...)
}

// reserve reserves a port for as long as the system runs.
func (s *system) reserve() (*port.Reservation, error) {
	reserved, err := port.Reserve()
	if err == nil {
		s.ports = append(s.ports, reserved)
	}
	return reserved, err
}

func (s *system) settings() []string {
	return []string{"REDIS_URL=redis://" + s.redis.Address, "STATISTICS_API_URL=", "LOG_LEVEL=error"}
}

// addReaders starts more readers, and returns when they are ready.
func (s *system) addReaders(ctx context.Context, more int) error {
	starting, ctx := errgroup.WithContext(ctx)
	started := make([]*reader, more)
	for i := range started {
		name := fmt.Sprintf("reader-%d", len(s.readers)+i+1)
		reserved, err := s.reserve()
		if err != nil {
			return err
		}
		starting.Go(func() error {
			p, err := process.Serve(ctx, reserved, s.binary("reader"), append(s.settings(),
				"INSTANCE_ID="+name, "ADVERTISE_URL=http://"+reserved.Address(), "ROUTING="+string(s.routing))...)
			if err == nil {
				started[i] = &reader{name: name, Process: p}
			}
			return err
		})
	}
	err := starting.Wait()
	for _, r := range started {
		if r != nil {
			s.readers = append(s.readers, r)
		}
	}
	return err
}

// awaitFleet returns when every reader knows all others, where they have to.
func (s *system) awaitFleet(ctx context.Context) error {
	if s.routing == placement.Random {
		return nil
	}
	return s.poll(ctx, 20*time.Second, func(now figures) bool {
		return !slices.ContainsFunc(s.readers, func(r *reader) bool { return int(now[r.name][fleetReaders]) != len(s.readers) })
	})
}

// leaving reports whether a reader that was told to stop still runs.
func (s *system) leaving() bool {
	return slices.ContainsFunc(s.readers, func(r *reader) bool {
		select {
		case <-r.Ended():
			return false
		default:
			return r.leaving
		}
	})
}

// close stops everything at once.
func (s *system) close() {
	for _, r := range s.readers {
		r.Kill()
	}
	if s.proxy != nil {
		s.proxy.Kill()
	}
	if s.comment != nil {
		s.comment.Kill()
	}
	if s.redis != nil {
		s.redis.Close()
	}
	for _, reserved := range s.ports {
		reserved.Release()
	}
	_ = os.RemoveAll(s.dir)
}

// doors are the addresses that viewers connect to: those of the first readers, or that of the proxy.
func (s *system) doors(readers int) []string {
	if s.proxy != nil {
		return []string{"http://" + s.proxy.Address}
	}
	doors := make([]string, readers)
	for i := range doors {
		doors[i] = "http://" + s.readers[i].Address
	}
	return doors
}

// figures are the metrics of each reader that runs, by its name.
type figures map[string]map[string]float64

// The metrics that are read.
const (
	published    = "livecomments_comments_published_total"
	streams      = "livecomments_reader_connections"
	topics       = "livecomments_reader_subscribed_topics"
	received     = "livecomments_reader_messages_received_total"
	sent         = "livecomments_reader_messages_sent_total"
	misplaced    = "livecomments_reader_misplaced_streams"
	fleetReaders = "livecomments_reader_fleet_readers"
	moved        = "livecomments_reader_streams_ended_total moved"
	redirects    = "livecomments_reader_redirects_total"
)

// read reads the readers' figures, all at once. Those that end meanwhile are left out.
func (s *system) read(ctx context.Context) (figures, error) {
	all := make([]map[string]float64, len(s.readers))
	reading, ctx := errgroup.WithContext(ctx)
	for i, r := range s.readers {
		reading.Go(func() (err error) {
			all[i], err = r.Metrics(ctx)
			if err != nil && r.leaving {
				return nil
			}
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	now := figures{}
	for i, r := range s.readers {
		if all[i] == nil {
			continue
		}
		for _, name := range s.needed() {
			if _, has := all[i][name]; !has {
				return nil, fmt.Errorf("%s has no metric %s", r.name, name)
			}
		}
		now[r.name] = all[i]
	}
	return now, nil
}

// needed are the metrics that each reader must have. One that places nobody has none about that.
func (s *system) needed() []string {
	all := []string{streams, topics, received, sent, moved}
	if s.routing != placement.Random {
		all = append(all, misplaced, fleetReaders, redirects+" elsewhere")
	}
	return all
}

// sum is a figure of all readers together, with all values of its labels.
func (f figures) sum(name string) (sum float64) {
	for _, of := range f {
		for key, value := range of {
			if key == name || strings.HasPrefix(key, name+" ") {
				sum += value
			}
		}
	}
	return sum
}

// poll reads the readers' figures four times a second until done is true.
func (s *system) poll(ctx context.Context, limit time.Duration, done func(figures) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		now, err := s.read(ctx)
		if err == nil && done(now) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

const pollInterval = 250 * time.Millisecond
