package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/livecomments/livecomments/services/lab/crowd"
)

// secured measures a reader that speaks TLS and one that does not in turn, and what an idle viewer over TLS takes. Every viewer
// decrypts what it gets, and checks it as without TLS.
func secured(ctx context.Context, b *bench) (Result, error) {
	const viewers, idleViewers, rate, rounds = 2000, 5000, 10, 10
	result := Result{Title: fmt.Sprintf("%d viewers over TLS that are sent nothing; then %d of one video, %d comments a second, with TLS and without in turn, %d times",
		idleViewers, viewers, rate, rounds)}
	s, err := b.newStage(ctx)
	if err != nil {
		return result, err
	}
	defer s.close()
	reader, trust, err := b.startSecured(ctx, s.dir, s.redis.Address)
	if err != nil {
		return result, err
	}
	defer reader.Kill()
	connect := func(viewers []crowd.Viewer) (*crowd.Crowd, error) {
		c, err := s.newCrowd(reader)
		if err != nil {
			return nil, err
		}
		c.SpeakTLS(trust)
		return c, connectAll(ctx, c, connectAtOnce, viewers)
	}

	empty, err := reader.Resident()
	if err != nil {
		return result, err
	}
	began := time.Now()
	if _, err = connect(viewersOfManyVideos(idleViewers)); err != nil {
		return result, err
	}
	took := time.Since(began)
	if err := pause(ctx, 20*time.Second); err != nil {
		return result, err
	}
	full, err := reader.Resident()
	if err != nil {
		return result, err
	}
	perViewer := float64(full-empty) / idleViewers / 1024

	const overTLS = hotVideo + "-over-tls"
	plain, err := s.connect(ctx, s.reader, viewersOf(hotVideo, viewers))
	if err != nil {
		return result, err
	}
	encrypted, err := connect(viewersOf(overTLS, viewers))
	if err != nil {
		return result, err
	}
	var plainLoad, encryptedLoad Load
	for range rounds {
		w := perSecond(rate, max(1, b.Seconds/rounds), shortText)
		l, err := measure(ctx, "plain", s.reader, plain, viewers, w.comments, func() error { return s.poster.post(ctx, w) })
		if err != nil {
			return result, err
		}
		plainLoad.add(l)
		w.video = overTLS
		if l, err = measure(ctx, "TLS", reader, encrypted, viewers, w.comments, func() error { return s.poster.post(ctx, w) }); err != nil {
			return result, err
		}
		encryptedLoad.add(l)
	}
	ratio := encryptedLoad.CPUMicros / plainLoad.CPUMicros
	result.Loads = []Load{plainLoad, encryptedLoad}
	result.Facts = []string{fmt.Sprintf("%d viewers had their streams over TLS after %.1f s, handshakes of both sides included", idleViewers, took.Seconds())}
	result.Goals = []Goal{
		{Says: fmt.Sprintf("over TLS the reader's processor time for a delivery is %.2f × that without (at most 1.5)", ratio), Met: ratio <= 1.5},
		{Says: fmt.Sprintf("%.2f KB resident a viewer over TLS (at most 12)", perViewer), Met: perViewer <= 12},
		deliveryGoal(plainLoad, encryptedLoad),
	}
	return result, nil
}
