package bench

import (
	"fmt"
	"strings"

	"github.com/livecomments/livecomments/services/lab/table"
)

// text is the output for people.
func (o Output) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n", o.Machine)
	for _, result := range o.Scenes {
		fmt.Fprintf(&out, "\n%s: %s\n", result.Scene, result.Title)
		if len(result.Loads) > 0 {
			fmt.Fprintf(&out, "%s\n", render(result.Loads))
		}
		for _, fact := range result.Facts {
			fmt.Fprintf(&out, "  %s\n", fact)
		}
		for _, goal := range result.Goals {
			fmt.Fprintf(&out, "  %s\n", goal)
		}
	}
	return out.String()
}

func render(loads []Load) string {
	t := table.New(1, table.Row{"", "viewers", "comments/s", "seconds", "deliveries/s", "CPU a delivery", "per read", "p50", "p99", "max", "wrong"})
	for _, l := range loads {
		t.AppendRow(table.Row{
			l.Of, l.Viewers, fmt.Sprintf("%.1f", l.CommentsPerSecond), fmt.Sprintf("%.1f", l.Seconds), fmt.Sprintf("%.0f", l.DeliveriesPerSecond),
			fmt.Sprintf("%.2f µs", l.CPUMicros), fmt.Sprintf("%.2f", l.PerRead), l.P50, l.P99, l.Max, l.Wrong,
		})
	}
	return t.Render()
}
