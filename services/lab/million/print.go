package million

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/livecomments/livecomments/services/lab/table"
)

func (c *Command) print(output *Output) error {
	if c.JSON {
		encoder := json.NewEncoder(c.Out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(output)
	}
	_, err := io.WriteString(c.Out, output.text())
	return err
}

// text is the output for people.
func (o *Output) text() string {
	header := table.Row{""}
	for i := range o.Routings {
		header = append(header, string(o.Routings[i].Routing))
	}
	t := table.New(1, header)
	for _, line := range lines {
		if line.of == nil {
			t.AppendSeparator()
			continue
		}
		row := table.Row{line.says}
		for i := range o.Routings {
			row = append(row, line.of(&o.Routings[i]))
		}
		t.AppendRow(row)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n%s viewers of %s videos on %d readers, from %d crowds; LOAD_BOUND=%g\n%s\n",
		o.Machine, thousands(o.Viewers), thousands(o.Videos), o.Readers, o.Crowds, o.LoadBound, t.Render())
	for _, g := range o.Goals {
		fmt.Fprintf(&out, "  %s\n", g)
	}
	return out.String()
}

// lines are those of the table; one without a figure is a rule.
var lines = []struct {
	says string
	of   func(*Result) string
}{
	{"viewers with a stream", func(r *Result) string { return thousands(r.Connected) }},
	{"a reader has: least, mean, most", func(r *Result) string {
		return fmt.Sprintf("%.0f, %.0f, %.0f", r.PerReader.Min, r.PerReader.Mean, r.PerReader.Max)
	}},
	{},
	{"subscription share: mean (min-max)", func(r *Result) string {
		return fmt.Sprintf("%s (%s-%s)", percent(r.Share.Mean), percent(r.Share.Min), percent(r.Share.Max))
	}},
	{"  by the closed form", func(r *Result) string { return optional(r.ShareClosedForm, percent) }},
	{"  by the simulation", func(r *Result) string { return percent(r.ShareSimulated) }},
	{"copies of a comment", func(r *Result) string { return decimals(r.Copies) }},
	{"  by the closed form", func(r *Result) string { return optional(r.CopiesClosedForm, decimals) }},
	{"  by the simulation", func(r *Result) string { return decimals(r.CopiesSimulated) }},
	{},
	{"memory of all", func(r *Result) string { return fmt.Sprintf("%.2f GB", gigabytes(r.Memory.All)) }},
	{"  a viewer", func(r *Result) string { return r.perViewer(r.Memory.All) }},
	{"  readers, a viewer", func(r *Result) string { return r.perViewer(r.Memory.Readers) }},
	{"  crowds, a viewer", func(r *Result) string { return r.perViewer(r.Memory.Viewers) }},
	{"  kernel, a viewer", func(r *Result) string { return r.perViewer(r.Memory.Kernel) }},
	{"  Redis", func(r *Result) string { return megabytes(r.Memory.Redis) }},
	{"  data in sockets", func(r *Result) string { return megabytes(r.Memory.Buffers) }},
	{"  left to the machine", func(r *Result) string { return fmt.Sprintf("%.2f GB", gigabytes(r.Memory.Available)) }},
	{},
	{"all connected after", func(r *Result) string { return fmt.Sprintf("%.1f s", r.ConnectSeconds) }},
	{"all where they belong after another", func(r *Result) string { return fmt.Sprintf("%.1f s", r.SettleSeconds) }},
	{"redirects, streams moved", func(r *Result) string { return thousands(r.Redirects) + ", " + thousands(r.Moved) }},
	{"refused, failed, misplaced", func(r *Result) string {
		return fmt.Sprintf("%s, %s, %s", thousands(r.Refused), thousands(r.Failed), thousands(r.Misplaced))
	}},
	{"first event, direct: p50, p99", func(r *Result) string { return r.Direct.text() }},
	{"first event, redirected: p50, p99", func(r *Result) string { return r.Redirected.text() }},
	{"without a stream when moved: p50, p99", func(r *Result) string { return r.Away.text() }},
	{"CPU of readers and Redis a viewer", func(r *Result) string { return fmt.Sprintf("%.0f µs", r.ConnectMicros) }},
	{"cores of readers, Redis while quiet", func(r *Result) string {
		return fmt.Sprintf("%.3f, %.3f", r.Quiet.ReadersCores, r.Quiet.RedisCores)
	}},
	{},
	{"comments, a second", func(r *Result) string {
		return fmt.Sprintf("%s, %.0f", thousands(r.Comments), float64(r.Comments)/max(r.Seconds, 1e-9))
	}},
	{"deliveries, a second", func(r *Result) string {
		return fmt.Sprintf("%s, %s", thousands(int(r.Deliveries)), thousands(int(float64(r.Deliveries)/max(r.Seconds, 1e-9))))
	}},
	{"latency: p50, p99", func(r *Result) string { return r.Latency.text() }},
	{"lost, duplicate, out of order, gaps", func(r *Result) string {
		return fmt.Sprintf("%d, %d, %d, %d", r.Lost, r.Duplicates, r.Misordered, r.Gaps)
	}},
	{"CPU a delivery: readers", func(r *Result) string { return fmt.Sprintf("%.2f µs", r.ReadersMicros) }},
	{"  beyond what they use while quiet", func(r *Result) string { return r.beyond(r.ReadersMicros, r.Quiet.ReadersCores) }},
	{"CPU a delivery: Redis", func(r *Result) string { return fmt.Sprintf("%.2f µs", r.RedisMicros) }},
	{"  beyond what it uses while quiet", func(r *Result) string { return r.beyond(r.RedisMicros, r.Quiet.RedisCores) }},
	{"CPU a delivery: crowds", func(r *Result) string { return fmt.Sprintf("%.2f µs", r.ViewersMicros) }},
}

// beyond is the processor time of a delivery without that which is used in any case.
func (r *Result) beyond(micros, quietCores float64) string {
	return fmt.Sprintf("%.2f µs", micros-quietCores*r.Seconds*1e6/float64(max(1, r.Deliveries)))
}

func (r *Result) perViewer(bytes int) string {
	return fmt.Sprintf("%.2f KB", float64(bytes)/1024/float64(max(1, r.Connected)))
}

func megabytes(bytes int) string { return fmt.Sprintf("%.0f MB", float64(bytes)/(1<<20)) }

func (q Quantiles) text() string {
	if q.Max == 0 {
		return "" // there were none
	}
	return fmt.Sprintf("%.1f ms, %.1f ms", q.P50, q.P99)
}

func percent(part float64) string { return fmt.Sprintf("%.1f %%", 100*part) }

func decimals(number float64) string { return fmt.Sprintf("%.2f", number) }

func optional(number *float64, format func(float64) string) string {
	if number == nil {
		return ""
	}
	return format(*number)
}

// thousands formats a number with separators, as 33,333.
func thousands(number int) string {
	digits := strconv.Itoa(number)
	var parts []string
	for len(digits) > 3 {
		parts = append([]string{digits[len(digits)-3:]}, parts...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}
