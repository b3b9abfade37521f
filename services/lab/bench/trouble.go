package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/livecomments/livecomments/services/lab/crowd"
)

// stalled has a video of whose viewers one in a hundred never reads, and in turn the same video without those.
func stalled(ctx context.Context, b *bench) (Result, error) {
	const viewers, rate, timeout = 2000, 20, 5 * time.Second
	rounds := max(1, b.Seconds/int(timeout.Seconds()))
	result := Result{Title: fmt.Sprintf("%d viewers of one video, %d comments of %d characters a second; in turn, %d times, with %d more that read nothing, and are cut after WRITE_TIMEOUT=%s",
		viewers, rate, longText, rounds, viewers/100, timeout)}
	s, c, err := b.newHotStage(ctx, viewers, "WRITE_TIMEOUT="+timeout.String())
	if err != nil {
		return result, err
	}
	defer s.close()
	w := perSecond(rate, int(timeout.Seconds()), longText)
	load := func(of string) (Load, error) {
		return measure(ctx, of, s.reader, c, viewers, w.comments, func() error { return s.poster.post(ctx, w) })
	}
	var without, with Load
	var cuts []time.Duration
	var memory []string
	for range rounds {
		l, err := load("all read")
		if err != nil {
			return result, err
		}
		without.add(l)
		stalledViewers := slices.Repeat([]crowd.Viewer{{Video: hotVideo, Stalled: true}}, viewers/100)
		if _, err := s.connect(ctx, s.reader, stalledViewers); err != nil {
			return result, err
		}
		ends := s.watchCuts(ctx, len(cuts), viewers/100, 2*timeout)
		if l, err = load("1 % stalled"); err != nil {
			return result, err
		}
		with.add(l)
		cuts = append(cuts, <-ends...)
		resident, err := s.reader.Resident()
		if err != nil {
			return result, err
		}
		memory = append(memory, fmt.Sprintf("%.1f", megabytes(resident)))
	}
	ratio := float64(with.P99) / float64(without.P99)
	result.Loads = []Load{without, with}
	result.Facts = []string{fmt.Sprintf("resident memory of the reader after each time: %s MB", strings.Join(memory, ", "))}
	result.Goals = []Goal{
		{Says: fmt.Sprintf("with stalled viewers, p99 of the others is %.2f × what it is without (at most 1.10)", ratio), Met: ratio <= 1.10},
		cutGoal(rounds*viewers/100, timeout, cuts),
		deliveryGoal(without, with),
	}
	return result, nil
}

// watchCuts sends, once and within the limit, the times from now until each of so many viewers was cut because it took
// nothing. before is how many were cut earlier.
func (s *stage) watchCuts(ctx context.Context, before, viewers int, limit time.Duration) <-chan []time.Duration {
	const every = 100 * time.Millisecond
	cuts, began := make(chan []time.Duration, 1), time.Now()
	go func() {
		var ends []time.Duration
		for len(ends) < viewers && time.Since(began) < limit && pause(ctx, every) == nil {
			figures, err := s.reader.Metrics(ctx)
			for err == nil && before+len(ends) < int(figures["livecomments_reader_streams_ended_total slow"]) {
				ends = append(ends, time.Since(began))
			}
		}
		cuts <- ends
	}()
	return cuts
}

// cutGoal is the goal that so many viewers were each cut after they had taken nothing for the timeout. It allows up to twice
// the timeout: their buffers fill first, and the reader checks twice in the timeout.
func cutGoal(viewers int, timeout time.Duration, cuts []time.Duration) Goal {
	if len(cuts) != viewers {
		return Goal{Says: fmt.Sprintf("of %d stalled viewers %d were cut", viewers, len(cuts))}
	}
	first, last := slices.Min(cuts), slices.Max(cuts)
	return Goal{
		Says: fmt.Sprintf("all %d stalled viewers were cut, %.1f to %.1f s after they connected (%.0f to %.0f)", viewers, first.Seconds(), last.Seconds(), timeout.Seconds(), 2*timeout.Seconds()),
		Met:  first >= timeout && last <= 2*timeout,
	}
}

// storm has many viewers connect at once while others watch, and then more than the reader takes.
func storm(ctx context.Context, b *bench) (Result, error) {
	const watching, rate, coming, tooMany, seconds = 1000, 10, 15_000, 2000, 10
	result := Result{Title: fmt.Sprintf("%d viewers of one video, %d comments a second; %d connect at once to %d others, then %d more than MAX_CONNECTIONS",
		watching, rate, coming, coming/viewersPerVideo, tooMany)}
	s, c, err := b.newHotStage(ctx, watching, fmt.Sprint("MAX_CONNECTIONS=", watching+coming))
	if err != nil {
		return result, err
	}
	defer s.close()
	load := func(of string, meanwhile func() error) (Load, error) {
		w := perSecond(rate, seconds, shortText)
		return measure(ctx, of, s.reader, c, watching, w.comments, func() error { return s.poster.postWhile(ctx, w, meanwhile) })
	}
	others, err := s.newCrowd(s.reader)
	if err != nil {
		return result, err
	}
	quiet, err := load("before", func() error { return nil })
	if err != nil {
		return result, err
	}
	var took, refusing time.Duration
	stormy, err := load("storm", func() error {
		began := time.Now()
		defer func() { took = time.Since(began) }()
		return connectAll(ctx, others, coming, viewersOfManyVideos(coming))
	})
	if err != nil {
		return result, err
	}
	full, err := load("full", func() error {
		began := time.Now()
		if err := others.Connect(tooMany, viewersOfManyVideos(tooMany)...); err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		defer func() { refusing = time.Since(began) }()
		return others.Await(limited, func(f crowd.Figures) bool { return f.Refused+f.Failed >= tooMany })
	})
	if err != nil {
		return result, err
	}
	f := others.Figures()
	result.Loads = []Load{quiet, stormy, full}
	result.Facts = []string{
		fmt.Sprintf("%d viewers had their streams after %.1f s", coming, took.Seconds()),
		fmt.Sprintf("%d more were answered 503 within %.2f s", f.Refused, refusing.Seconds()),
	}
	result.Goals = []Goal{
		{Says: fmt.Sprintf("p99 in the storm is %s (at most 1000 ms)", stormy.P99), Met: stormy.P99 <= Millis(time.Second)},
		{Says: fmt.Sprintf("of %d too many, %d were answered 503", tooMany, f.Refused), Met: f.Refused == tooMany},
		deliveryGoal(quiet, stormy, full),
	}
	return result, nil
}
