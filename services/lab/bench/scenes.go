package bench

import (
	"context"
	"fmt"
	"time"
)

// deliveryGoal is the goal that every comment arrived.
func deliveryGoal(loads ...Load) Goal {
	goal := Goal{Says: "every comment arrived at every viewer, once and in order", Met: true, Delivery: true}
	for _, l := range loads {
		if l.Wrong > 0 {
			goal = Goal{Says: fmt.Sprintf("%s: %d of %d deliveries were wrong", l.Of, l.Wrong, l.Viewers*l.Comments), Delivery: true}
		}
	}
	return goal
}

// hot has one video with many viewers, and measures floor and reader in turn.
func hot(ctx context.Context, b *bench) (Result, error) {
	const viewers, rate, rounds = 2000, 10, 10
	result := Result{Title: fmt.Sprintf("%d viewers of one video, %d comments a second; reader and floor in turn, %d times", viewers, rate, rounds)}
	s, err := b.newStage(ctx)
	if err != nil {
		return result, err
	}
	defer s.close()
	floor, err := startFloor(viewers)
	if err != nil {
		return result, err
	}
	defer floor.Kill()
	atFloor, err := s.connect(ctx, floor.Process, viewersOf("floor", viewers))
	if err != nil {
		return result, err
	}
	if _, err := floor.stdout.ReadString('\n'); err != nil {
		return result, err
	}
	atReader, err := s.connect(ctx, s.reader, viewersOf(hotVideo, viewers))
	if err != nil {
		return result, err
	}
	var floorLoad, readerLoad Load
	for range rounds {
		w := perSecond(rate, max(1, b.Seconds/rounds), shortText)
		l, err := measure(ctx, "floor", floor.Process, atFloor, viewers, w.comments, func() error { return floor.post(ctx, w) })
		if err != nil {
			return result, err
		}
		floorLoad.add(l)
		if l, err = measure(ctx, "reader", s.reader, atReader, viewers, w.comments, func() error { return s.poster.post(ctx, w) }); err != nil {
			return result, err
		}
		readerLoad.add(l)
	}
	ratio := readerLoad.CPUMicros / floorLoad.CPUMicros
	result.Loads = []Load{floorLoad, readerLoad}
	result.Goals = []Goal{
		{Says: fmt.Sprintf("the reader's processor time for a delivery is %.2f × the floor's (at most 1.15)", ratio), Met: ratio <= 1.15},
		deliveryGoal(floorLoad, readerLoad),
	}
	return result, nil
}

// flood has more deliveries than two cores could make with one write(2) each.
func flood(ctx context.Context, b *bench) (Result, error) {
	const viewers, rate = 10_000, 50
	result := Result{Title: fmt.Sprintf("%d viewers of one video, %d comments a second: %d deliveries a second", viewers, rate, viewers*rate)}
	s, c, err := b.newHotStage(ctx, viewers)
	if err != nil {
		return result, err
	}
	defer s.close()
	w := perSecond(rate, b.Seconds, shortText)
	l, err := measure(ctx, "reader", s.reader, c, viewers, w.comments, func() error { return s.poster.post(ctx, w) })
	if err != nil {
		return result, err
	}
	result.Loads = []Load{l}
	result.Goals = []Goal{
		{Says: fmt.Sprintf("%.0f deliveries a second for %.0f s (at least %d)", l.DeliveriesPerSecond, l.Seconds, viewers*rate*99/100), Met: l.DeliveriesPerSecond >= viewers*rate*0.99},
		{Says: fmt.Sprintf("p99 is %s (at most 250 ms)", l.P99), Met: l.P99 <= Millis(250*time.Millisecond)},
		deliveryGoal(l),
	}
	return result, nil
}

// idle has viewers whose videos get no comments.
func idle(ctx context.Context, b *bench) (Result, error) {
	const viewers = 15_000
	result := Result{Title: fmt.Sprintf("%d viewers that are sent nothing but heartbeats", viewers)}
	s, err := b.newStage(ctx)
	if err != nil {
		return result, err
	}
	defer s.close()
	empty, err := s.reader.Resident()
	if err != nil {
		return result, err
	}
	if _, err = s.connect(ctx, s.reader, viewersOfManyVideos(viewers)); err != nil {
		return result, err
	}
	began, perViewer := time.Now(), 0.0
	for _, after := range []time.Duration{0, 10 * time.Second, 30 * time.Second} {
		if err := pause(ctx, time.Until(began.Add(after))); err != nil {
			return result, err
		}
		full, err := s.reader.Resident()
		if err != nil {
			return result, err
		}
		perViewer = float64(full-empty) / viewers
		result.Facts = append(result.Facts, fmt.Sprintf("%2.0f s after the last connected: %.1f MB resident, %.1f MB more than without viewers, %.2f KB a viewer",
			after.Seconds(), megabytes(full), megabytes(full-empty), perViewer/1024))
	}
	result.Goals = []Goal{{Says: fmt.Sprintf("%.2f KB resident a viewer (at most 6)", perViewer/1024), Met: perViewer <= 6*1024}}
	return result, nil
}

func megabytes(bytes int) float64 { return float64(bytes) / (1 << 20) }
