package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/livecomments/livecomments/services/lab/bench/crowd"
)

// delivered is the goal that nothing went wrong on the way.
func delivered(loads ...Load) Goal {
	goal := Goal{Says: "every comment arrived at every viewer, once and in order", Met: true, Delivery: true}
	for _, l := range loads {
		if l.Wrong > 0 {
			goal = Goal{Says: fmt.Sprintf("%s: %d of %d deliveries were missing, duplicate or out of order", l.Of, l.Wrong, l.Viewers*l.Comments), Delivery: true}
		}
	}
	return goal
}

// perSecond orders comments for a time.
func perSecond(rate, seconds, length int) order {
	return order{rate * seconds, time.Second / time.Duration(rate), length}
}

// hot is one video with many viewers, reader and floor in turn.
func hot(ctx context.Context, b *bench) (Result, error) {
	const viewers, rate, rounds = 2000, 10, 10
	result := Result{Title: fmt.Sprintf("%d viewers of one video, %d comments a second; reader and floor in turn, %d times", viewers, rate, rounds)}
	s, err := b.set(ctx)
	if err != nil {
		return result, err
	}
	defer s.clear()
	floor, err := startFloor(viewers)
	if err != nil {
		return result, err
	}
	defer floor.kill()
	atFloor, err := s.seat(ctx, floor, audience(viewers, crowd.Viewer{Video: "floor"}))
	if err != nil {
		return result, err
	}
	if _, err := floor.stdout.ReadString('\n'); err != nil {
		return result, err
	}
	atReader, err := s.seat(ctx, s.reader, audience(viewers, crowd.Viewer{Video: hotVideo}))
	if err != nil {
		return result, err
	}
	var bare, full Load
	for range rounds {
		o := perSecond(rate, max(1, b.Seconds/rounds), remark)
		l, err := measure(ctx, "floor", floor, atFloor, viewers, o.comments, func() error { return floor.obey(ctx, o) })
		if err != nil {
			return result, err
		}
		bare.add(l)
		if l, err = measure(ctx, "reader", s.reader, atReader, viewers, o.comments, func() error { return s.poster.obey(ctx, o) }); err != nil {
			return result, err
		}
		full.add(l)
	}
	ratio := full.CPUMicros / bare.CPUMicros
	result.Loads = []Load{bare, full}
	result.Goals = []Goal{
		{Says: fmt.Sprintf("the reader's processor time for a delivery is %.2f × the floor's (at most 1.15)", ratio), Met: ratio <= 1.15},
		delivered(bare, full),
	}
	return result, nil
}

// flood is more than one write a comment could carry on two cores.
func flood(ctx context.Context, b *bench) (Result, error) {
	const viewers, rate = 10_000, 50
	result := Result{Title: fmt.Sprintf("%d viewers of one video, %d comments a second: %d deliveries a second", viewers, rate, viewers*rate)}
	s, c, err := b.setHot(ctx, viewers)
	if err != nil {
		return result, err
	}
	defer s.clear()
	o := perSecond(rate, b.Seconds, remark)
	l, err := measure(ctx, "reader", s.reader, c, viewers, o.comments, func() error { return s.poster.obey(ctx, o) })
	if err != nil {
		return result, err
	}
	result.Loads = []Load{l}
	result.Goals = []Goal{
		{Says: fmt.Sprintf("%.0f deliveries a second for %.0f s (at least %d)", l.DeliveriesPerSecond, l.Seconds, viewers*rate*99/100), Met: l.DeliveriesPerSecond >= viewers*rate*0.99},
		{Says: fmt.Sprintf("p99 is %s (at most 250 ms)", l.P99), Met: l.P99 <= Millis(250*time.Millisecond)},
		delivered(l),
	}
	return result, nil
}

// idle is viewers to whom nothing happens.
func idle(ctx context.Context, b *bench) (Result, error) {
	const viewers = 15_000
	result := Result{Title: fmt.Sprintf("%d viewers to whom nothing is sent but heartbeats", viewers)}
	s, err := b.set(ctx)
	if err != nil {
		return result, err
	}
	defer s.clear()
	empty, err := s.reader.resident()
	if err != nil {
		return result, err
	}
	if _, err = s.seat(ctx, s.reader, scattered(viewers)); err != nil {
		return result, err
	}
	began, each := time.Now(), 0.0
	for _, after := range []time.Duration{0, 10 * time.Second, 30 * time.Second} {
		if err := pause(ctx, time.Until(began.Add(after))); err != nil {
			return result, err
		}
		full, err := s.reader.resident()
		if err != nil {
			return result, err
		}
		each = float64(full-empty) / viewers
		result.Facts = append(result.Facts, fmt.Sprintf("%2.0f s after the last has come: %.1f MB resident, %.1f MB over the empty process, %.2f KB a viewer",
			after.Seconds(), megabytes(full), megabytes(full-empty), each/1024))
	}
	result.Goals = []Goal{{Says: fmt.Sprintf("%.2f KB resident a viewer (at most 6)", each/1024), Met: each <= 6*1024}}
	return result, nil
}

func megabytes(bytes int) float64 { return float64(bytes) / (1 << 20) }
