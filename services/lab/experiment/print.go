package experiment

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	prettytable "github.com/jedib0t/go-pretty/v6/table"

	"github.com/livecomments/livecomments/services/lab/simulate"
	"github.com/livecomments/livecomments/services/lab/table"
	"github.com/livecomments/livecomments/services/shared/popularity"
)

// text is the output for people.
func (o *Output) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n%s videos, %s viewers; comments: %g per minute from each viewer, %s per second from all\n",
		o.Machine, thousands(float64(o.Videos)), thousands(float64(o.Viewers)), o.CommentsPerMinute, thousands(float64(o.Viewers)*o.CommentsPerMinute/60))
	for _, distribution := range popularities(o.Fleets) {
		some := of(distribution, o.Fleets)
		fmt.Fprintf(&out, "\npopularity: %s; where viewers are\n%s\n", distribution, placementTable(some))
		fmt.Fprintf(&out, "\npopularity: %s; what it costs\n%s\n", distribution, costTable(some))
	}
	if len(o.Changes) > 0 {
		fmt.Fprintf(&out, "\nchanges: %s viewers of %s videos, uniform, who post all the time\n%s\n", thousands(float64(o.Viewers)), thousands(float64(o.Videos)), changeTable(o.Changes))
	}
	if len(o.Connecting) > 0 {
		fmt.Fprintf(&out, "\nconnecting, while there is nothing else to do\n%s\n", connectingTable(o.Connecting))
	}
	out.WriteString(legend)
	for _, note := range o.Notes {
		fmt.Fprintf(&out, "\n  %s", note)
	}
	for _, g := range o.Goals {
		fmt.Fprintf(&out, "\n  %s", g)
	}
	out.WriteString("\n")
	return out.String()
}

const legend = `
share           part of all videos that a reader is subscribed to: mean (min-max); formula: the mean of 1-(1-1/R)^n over the videos, or 1/R
simulated       mean of 20 simulations of the same
copies          messages that readers received from Redis ÷ comments published
in              messages that a reader receives a second: mean (min-max)
busiest ÷ mean  most viewers of a reader ÷ mean of all readers
CPU             processor time for a delivery, in microseconds, of readers, HAProxy and Redis
sent on         part of all connects that were answered by a redirect
settled         seconds until all viewers had a stream where they belong
astray, moved   viewers that came to be at another reader than their own, and streams that readers ended for that; most in a second, and
                what MOVE_RATE allows
without stream  how long viewers who lost their stream had none
`

// popularities are those of fleets, in order.
func popularities(fleets []Fleet) (names []popularity.Distribution) {
	for i := range fleets {
		if name := fleets[i].Popularity; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// of are the fleets of one popularity, by the number of readers.
func of(distribution popularity.Distribution, fleets []Fleet) (some []Fleet) {
	for i := range fleets {
		if fleets[i].Popularity == distribution {
			some = append(some, fleets[i])
		}
	}
	slices.SortStableFunc(some, func(a, b Fleet) int { return cmp.Compare(a.Readers, b.Readers) })
	return some
}

// name is what a fleet is called beside others.
func (f *Fleet) name() string {
	if f.Proxy {
		return "HAProxy"
	}
	return string(f.Routing)
}

func placementTable(fleets []Fleet) string {
	t := table.New(2, table.Row{
		"readers", "routing", "share", "simulated", "difference", "formula", "copies", "simulated", "formula", "in", "viewers", "busiest ÷ mean", "simulated",
	})
	for i := range fleets {
		f := &fleets[i]
		row := table.Row{
			leader(t, fleets, i), f.name(), percents(f.Share), "", "", "", fmt.Sprintf("%.2f", f.CopiesPerComment), "", "",
			spread(f.MessagesIn), spread(f.Viewers), fmt.Sprintf("%.2f", f.Busiest), "",
		}
		if f.Simulated != nil {
			row[3], row[4] = percent(f.Simulated.Share), fmt.Sprintf("%+.1f", 100*(f.Share.Mean-f.Simulated.Share))
			row[7], row[12] = fmt.Sprintf("%.2f", f.Simulated.CopiesPerComment), fmt.Sprintf("%.2f", f.Simulated.Busiest)
		}
		if f.ClosedForm != nil {
			row[5], row[8] = percent(f.ClosedForm.Share), fmt.Sprintf("%.2f", f.ClosedForm.CopiesPerComment)
		}
		t.AppendRow(row)
	}
	return t.Render()
}

func costTable(fleets []Fleet) string {
	t := table.New(2, table.Row{
		"readers", "routing", "comments/s", "deliveries/s", "CPU of readers", "HAProxy", "Redis", "all", "p50", "p99", "reconnects/s", "sent on", "settled", "lost", "twice", "misordered",
	})
	for i := range fleets {
		f := &fleets[i]
		proxy := ""
		if f.Proxy {
			proxy = fmt.Sprintf("%.1f µs", f.CPU.Proxy)
		}
		t.AppendRow(table.Row{
			leader(t, fleets, i), f.name(), fmt.Sprintf("%.0f", f.CommentsPerSecond), thousands(f.DeliveriesPerSecond),
			fmt.Sprintf("%.1f µs", f.CPU.Readers), proxy, fmt.Sprintf("%.1f µs", f.CPU.Redis), fmt.Sprintf("%.1f µs", f.CPU.total()),
			millis(f.LatencyMillis.P50), millis(f.LatencyMillis.P99), fmt.Sprintf("%.1f", f.ReconnectsPerSecond), percent(f.SentOn),
			seconds(f.SettledSeconds, f.Settled), f.Verification.Missing, f.Verification.Duplicates, f.Verification.Misordered,
		})
	}
	return t.Render()
}

// leader is the first cell of a row: the number of readers, once for all rows of a fleet, which a line separates from others.
func leader(t prettytable.Writer, fleets []Fleet, i int) string {
	if i > 0 && fleets[i].Readers == fleets[i-1].Readers {
		return ""
	}
	if i > 0 {
		t.AppendSeparator()
	}
	return strconv.Itoa(fleets[i].Readers)
}

func changeTable(changes []Change) string {
	t := table.New(3, table.Row{
		"", "readers", "routing", "settled", "astray", "moved", "most a second", "may", "reconnects", "most a second", "without stream: p50", "p99", "max", "share", "busiest ÷ mean", "lost", "twice", "misordered",
	})
	for i := range changes {
		c := &changes[i]
		t.AppendRow(table.Row{
			c.Name, fmt.Sprintf("%d to %d", c.From, c.To), string(c.Routing), seconds(c.SettledSeconds, c.Settled),
			thousands(c.Astray), thousands(c.Moved), fmt.Sprintf("%.1f", c.PeakMoved), fmt.Sprintf("%.1f", c.MoveBound), c.Reconnects, fmt.Sprintf("%.1f", c.PeakReconnects),
			millis(c.OutageMillis.P50), millis(c.OutageMillis.P99), millis(c.OutageMillis.Max), percents(c.Share), fmt.Sprintf("%.2f", c.Busiest),
			c.Verification.Missing, c.Verification.Duplicates, c.Verification.Misordered,
		})
	}
	return t.Render()
}

func connectingTable(all []Connecting) string {
	t := table.New(2, table.Row{"readers", "routing", "connects/s", "sent on", "first event: p50", "p99", "max"})
	for _, c := range all {
		t.AppendRow(table.Row{
			strconv.Itoa(c.Readers), string(c.Routing), fmt.Sprintf("%.0f", c.PerSecond), percent(c.SentOn),
			millis(c.FirstEventMillis.P50), millis(c.FirstEventMillis.P99), millis(c.FirstEventMillis.Max),
		})
	}
	return t.Render()
}

func percent(part float64) string { return fmt.Sprintf("%.1f%%", 100*part) }

func percents(s simulate.Spread) string {
	return fmt.Sprintf("%s (%.0f-%.0f%%)", percent(s.Mean), 100*s.Min, 100*s.Max)
}

func spread(s simulate.Spread) string { return fmt.Sprintf("%.0f (%.0f-%.0f)", s.Mean, s.Min, s.Max) }

func millis(value float64) string { return fmt.Sprintf("%.1f ms", value) }

func seconds(value float64, reached bool) string {
	if !reached {
		return "never"
	}
	return fmt.Sprintf("%.1f s", value)
}

// thousands formats a number without decimals and with separators, as 33,333.
func thousands(number float64) string {
	digits := strconv.FormatFloat(number, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
