package simulate

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"golang.org/x/term"

	"github.com/livecomments/livecomments/services/lab/table"
)

// print writes the results in the chosen format.
func (c *Command) print(output *Output) error {
	switch {
	case c.JSON:
		encoder := json.NewEncoder(c.Out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(output)
	case c.CSV:
		return printCSV(c.Out, output.Results)
	default:
		return printTables(c.Out, output)
	}
}

var columns = []string{
	"popularity", "strategy", "readers",
	"shareMin", "shareMean", "shareMax", "shareClosedForm", "messageShareMin", "messageShareMean", "messageShareMax",
	"copiesPerComment", "copiesClosedForm",
	"messagesInMin", "messagesInMean", "messagesInMax", "deliveriesOutMin", "deliveriesOutMean", "deliveriesOutMax",
	"busiest", "busiestDeliveries", "redisDeliveries", "ofRedisLimit", "movedWhenAdded", "movedWhenLost",
}

func printCSV(out io.Writer, results []Result) error {
	writer := csv.NewWriter(out)
	_ = writer.Write(columns) // Error returns it at the end
	number := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	for i := range results {
		r := &results[i]
		share, copies := "", ""
		if r.ClosedForm != nil {
			share, copies = number(r.ClosedForm.Share), number(r.ClosedForm.CopiesPerComment)
		}
		_ = writer.Write([]string{
			string(r.Popularity), string(r.Strategy), strconv.Itoa(r.Readers),
			number(r.Share.Min), number(r.Share.Mean), number(r.Share.Max), share,
			number(r.MessageShare.Min), number(r.MessageShare.Mean), number(r.MessageShare.Max),
			number(r.CopiesPerComment), copies,
			number(r.MessagesIn.Min), number(r.MessagesIn.Mean), number(r.MessagesIn.Max),
			number(r.DeliveriesOut.Min), number(r.DeliveriesOut.Mean), number(r.DeliveriesOut.Max),
			number(r.Busiest), number(r.BusiestDeliveries), number(r.RedisDeliveries), number(r.OfRedisLimit),
			number(r.MovedWhenAdded), number(r.MovedWhenLost),
		})
	}
	writer.Flush()
	return writer.Error()
}

func printTables(out io.Writer, output *Output) error {
	scene := output.Scene
	_, err := fmt.Fprintf(out, "%s videos, %s viewers; comments: %g per minute from each viewer, %s per second from all\n",
		thousands(float64(scene.Videos)), thousands(float64(scene.Viewers)), scene.CommentsPerMinute, thousands(scene.commentsPerSecond()))
	if err != nil {
		return err
	}
	for start := 0; start < len(output.Results); {
		end := start
		for end < len(output.Results) && output.Results[end].Popularity == output.Results[start].Popularity {
			end++
		}
		if _, err := fmt.Fprintf(out, "\npopularity: %s\n%s\n", output.Results[start].Popularity, render(output.Results[start:end])); err != nil {
			return err
		}
		start = end
	}
	_, err = fmt.Fprint(out, `
share           part of all videos that a reader is subscribed to: mean (min-max); formula: the mean of 1-(1-1/R)^n over the videos, or 1/R
messages        part of all comments that a reader receives: mean
copies          readers that receive a comment: mean
in, out         comments that a reader receives from Redis, and that it writes to viewers, per second: mean
busiest ÷ mean  most viewers of a reader ÷ mean of all readers
Redis           messages that Redis delivers per second, and their part of about `+thousands(RedisLimit)+`, the limit of one instance
moved           part of all viewers that move when a reader is added, and when one is lost, including its own viewers
`)
	return err
}

// render returns the table of one popularity, with a block for each fleet.
func render(results []Result) string {
	t := table.New(2, table.Row{
		"readers", "strategy", "share", "formula", "messages", "copies", "formula", "in", "most in", "out", "most out",
		"busiest ÷ mean", "Redis", "moved +1", "moved -1",
	})
	for i := range results {
		r := &results[i]
		if i > 0 && r.Readers != results[i-1].Readers {
			t.AppendSeparator()
		}
		share, copies := "", ""
		if r.ClosedForm != nil {
			share, copies = percent(r.ClosedForm.Share), fmt.Sprintf("%.2f", r.ClosedForm.CopiesPerComment)
		}
		fleet := ""
		if i == 0 || r.Readers != results[i-1].Readers {
			fleet = strconv.Itoa(r.Readers)
		}
		t.AppendRow(table.Row{
			fleet, string(r.Strategy), fmt.Sprintf("%s (%s-%s)", percent(r.Share.Mean), percent(r.Share.Min), percent(r.Share.Max)), share,
			percent(r.MessageShare.Mean), fmt.Sprintf("%.2f", r.CopiesPerComment), copies,
			thousands(r.MessagesIn.Mean), thousands(r.MessagesIn.Max), thousands(r.DeliveriesOut.Mean), thousands(r.DeliveriesOut.Max),
			fmt.Sprintf("%.2f", r.Busiest), fmt.Sprintf("%s %s", thousands(r.RedisDeliveries), percent(r.OfRedisLimit)),
			percent(r.MovedWhenAdded), percent(r.MovedWhenLost),
		})
	}
	return t.Render()
}

func percent(part float64) string { return fmt.Sprintf("%.1f%%", 100*part) }

// thousands formats a number without decimals and with separators, as 33,333.
func thousands(number float64) string {
	digits := strconv.FormatFloat(number, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// shown reports progress: by a bar on a terminal, else by a line for each tenth.
type shown struct {
	done    atomic.Int64
	total   int
	out     io.Writer
	bar     progress.Writer
	tracker *progress.Tracker
}

func newProgress(out io.Writer, total int) *shown {
	s := &shown{total: total, out: out}
	file, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return s
	}
	s.bar, s.tracker = progress.NewWriter(), &progress.Tracker{Message: "placing", Total: int64(total)}
	s.bar.SetOutputWriter(out)
	s.bar.SetUpdateFrequency(100 * time.Millisecond)
	s.bar.AppendTracker(s.tracker)
	go s.bar.Render()
	return s
}

func (s *shown) step() {
	done := int(s.done.Add(1))
	switch {
	case s.tracker != nil:
		s.tracker.Increment(1)
	case done*10/s.total > (done-1)*10/s.total:
		_, _ = fmt.Fprintf(s.out, "%d of %d fleets\n", done, s.total)
	}
}

// stop waits for the bar to end, so that no output follows on its line.
func (s *shown) stop() {
	if s.bar == nil {
		return
	}
	s.bar.Stop()
	for s.bar.IsRenderInProgress() {
		time.Sleep(10 * time.Millisecond)
	}
}
