package up

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/statistics/tally"
)

func (c *Command) say(format string, args ...any) { _, _ = fmt.Fprintf(c.Out, format, args...) }

// greet says where everything is and what to try, in lines to copy.
func (c *Command) greet(at Addresses) {
	kind := "Redis at " + redacted(at.Redis)
	if c.RedisURL == "" {
		kind = "an embedded Redis at " + at.Redis
	}
	c.say("livecomments is up: %d readers, routing %s, %s, %d viewers on %d videos\n\n", c.Readers, c.Routing, kind, c.Viewers, c.Videos)
	c.say("open %s to see the fleet, and %s/watch?videoid=video1 to watch and comment; or by hand:\n\n", at.Statistics, at.Statistics)
	c.say("  watch    curl -NL '%s/connect?userid=me&videoid=video1'\n", at.Readers[0])
	c.say("  comment  curl %s/comment -d '{\"userid\":\"me\",\"videoid\":\"video1\",\"comment\":\"hello\"}'\n", at.Comment)
	c.say("  figures  %s/statistics\n\n", at.Statistics)
	for i, reader := range at.Readers {
		if i == 10 {
			c.say("  ...\n")
			break
		}
		c.say("  reader-%d %s\n", i+1, reader)
	}
	c.say("\nCtrl-C stops.\n\n")
}

// redacted is a URL fit to print.
func redacted(redisURL string) string {
	parsed, err := url.Parse(redisURL)
	if err != nil {
		return "the given URL"
	}
	return parsed.Redacted()
}

// show writes a line at every interval until ctx ends or a part fails.
func (c *Command) show(ctx context.Context, s *system) error {
	began := time.Now()
	ticker := time.NewTicker(c.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case failure := <-s.failed:
			return failure
		case <-ticker.C:
		}
		totals, err := s.totals(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			c.say("%s  the Statistics API does not answer: %s\n", clock(time.Since(began)), err)
		default:
			c.say("%s  %s\n", clock(time.Since(began)), line(totals))
		}
	}
}

func clock(elapsed time.Duration) string {
	seconds := int(elapsed.Seconds())
	return fmt.Sprintf("%02d:%02d", seconds/60, seconds%60)
}

// totals asks the Statistics API, so that what is shown is what anybody can see.
func (s *system) totals(ctx context.Context) (totals tally.Totals, err error) {
	err = get(ctx, 5*time.Second, s.at.Statistics+"/statistics", &totals)
	return totals, err
}

// line is the flow at one moment.
func line(t tally.Totals) string {
	v := t.Viewers
	return strings.Join([]string{
		fmt.Sprintf("%d viewers", t.ReaderAPIs.TotalActiveConnections),
		fmt.Sprintf("%.1f comments/s", t.Rates.CommentsPerSecond),
		fmt.Sprintf("%.1f deliveries/s", t.Rates.DeliveriesPerSecond),
		"share " + shares(t.ReaderAPIs),
		fmt.Sprintf("copies %.2f", t.Rates.CopiesPerComment),
		fmt.Sprintf("%d missing %d duplicates %d misordered", v.Missing, v.Duplicates, v.Misordered),
		latency(v.LatencyMillis),
	}, " | ")
}

// latency is unknown until the first comments are old enough to be judged.
func latency(l reports.Latency) string {
	if l.Count == 0 {
		return "p50 - p99 -"
	}
	return fmt.Sprintf("p50 %.1f ms p99 %.1f ms", l.P50, l.P99)
}

// shares lists the readers' subscription shares while they fit on a line.
func shares(readers tally.ReaderAPIs) string {
	if len(readers.Readers) > 6 {
		share := readers.SubscriptionShare
		return fmt.Sprintf("min %.0f%% mean %.0f%% max %.0f%%", 100*share.Min, 100*share.Mean, 100*share.Max)
	}
	each := make([]string, len(readers.Readers))
	for i, reader := range readers.Readers {
		each[i] = fmt.Sprintf("%.0f%%", 100*reader.SubscriptionShare)
	}
	return strings.Join(each, " ")
}

// conclude is the last word, after all viewers have left.
func (c *Command) conclude(t tally.Totals) {
	v := t.Viewers
	c.say("\n%d comments posted, %d not taken; %d arrived at viewers: %d missing %d duplicates %d misordered | %d gaps %d reconnects | latency %s max %.1f ms\n",
		v.CommentsGenerated, v.FailedPosts, v.CommentsConsumed, v.Missing, v.Duplicates, v.Misordered, v.Gaps, v.Reconnects,
		latency(v.LatencyMillis), v.LatencyMillis.Max)
}
