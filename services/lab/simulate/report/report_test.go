package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/lab/simulate/report"
)

type object = map[string]any

// result is the result of one strategy and fleet.
func result(popularity, strategy string, readers int) object {
	part := 1 / float64(readers)
	spread := object{"min": part, "mean": part, "max": part}
	return object{
		"popularity": popularity, "strategy": strategy, "readers": readers, "share": spread, "messageShare": spread, "copiesPerComment": 1.0,
		"closedForm": nil, "messagesIn": spread, "deliveriesOut": spread, "busiest": 1.1, "busiestDeliveries": nil, "redisDeliveries": 0.0,
		"ofRedisLimit": nil, "movedWhenAdded": 0.0, "movedWhenLost": part,
	}
}

func output(results ...object) object {
	return object{
		"command": "lab simulate --seed=7", "sceneName": "full", "epsilon": 0.25, "redisLimit": 650_000, "results": results,
		"scene": object{"videos": 90_000, "viewers": 2_000_000, "commentsPerMinute": 0, "seed": 7},
	}
}

func write(t *testing.T, data any) string {
	t.Helper()
	var page bytes.Buffer
	require.NoError(t, report.Write(&page, data))
	return page.String()
}

var island = regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`)

// in returns the data that a browser finds in a page.
func in(t *testing.T, page string) string {
	t.Helper()
	found := island.FindAllStringSubmatch(page, -1)
	require.Len(t, found, 1)
	return found[0][1]
}

func TestAPageHoldsItsDataAsItIs(t *testing.T) {
	for name, results := range map[string][]object{
		"a fleet of one":         {result("uniform", "random", 1)},
		"a single fleet":         {result("three-tier", "random", 5), result("three-tier", "bounded", 5)},
		"some of the strategies": {result("zipf", "hash", 3), result("zipf", "ring", 3), result("zipf", "hash", 200)},
		"several popularities":   {result("uniform", "registry", 3), result("uniform", "registry", 5), result("zipf", "registry", 3)},
	} {
		t.Run(name, func(t *testing.T) {
			data := output(results...)
			want, err := json.Marshal(data)
			require.NoError(t, err)
			page := write(t, data)
			assert.JSONEq(t, string(want), in(t, page))
			assert.Equal(t, page, write(t, data), "the same data gives the same bytes")
		})
	}
}

func TestAPageLoadsNothing(t *testing.T) {
	page := write(t, output(result("uniform", "random", 3)))
	loads := regexp.MustCompile(`(?i)<[^>]*\s(?:src|srcset|href|action|data|poster)\s*=\s*["']?([^"'\s>]*)`).FindAllStringSubmatch(page, -1)
	var addresses []string
	for _, load := range loads {
		addresses = append(addresses, load[1])
	}
	assert.Equal(t, []string{"data:,", "https://github.com/livecomments/livecomments"}, addresses, "an empty icon, and a link for the reader")
	assert.Contains(t, page, `<a href="https://github.com/livecomments/livecomments">`)
	assert.NotRegexp(t, `@import|url\(|sourceMappingURL`, page)
	assert.Contains(t, page, `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; `, "the browser is told so too")
}

func TestNothingInTheDataBreaksOut(t *testing.T) {
	harmless := write(t, output(result("uniform", "random", 3)))
	for _, hostile := range []string{
		`</script><script>alert(1)</script>`, `</SCRIPT ><img src=x onerror=alert(1)>`, `<!--<script>`, `]]>`, `"><b>`, `'-alert(1)-'`, "`${alert(1)}`",
		`{{.Library}}`, `</style><style>`, "\u2028\u2029\x00", `\u003c/script\u003e`, `&lt;`,
	} {
		t.Run(hostile, func(t *testing.T) {
			data := output(result(hostile, hostile, 3))
			data["command"], data["sceneName"] = hostile, hostile
			want, err := json.Marshal(data)
			require.NoError(t, err)
			page := write(t, data)
			assert.JSONEq(t, string(want), in(t, page), "it arrives as it was")
			assert.NotContains(t, in(t, page), "<")
			assert.Equal(t, island.ReplaceAllString(harmless, ""), island.ReplaceAllString(page, ""), "it is nowhere else")
		})
	}
}

func TestDataThatMarshalsItselfDoesNotBreakOut(t *testing.T) {
	data := `{ "command": "</script><!--" }`
	island := in(t, write(t, json.RawMessage(data)))
	assert.NotContains(t, island, "<")
	assert.JSONEq(t, data, island)
}

func TestWhatHasNoJSONIsRefused(t *testing.T) {
	var page bytes.Buffer
	require.EqualError(t, report.Write(&page, object{"share": math.NaN()}), "report: json: unsupported value: NaN")
	assert.Zero(t, page.Len())
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAPageThatCannotBeWrittenIsAnError(t *testing.T) {
	assert.EqualError(t, report.Write(full{}, output()), "no space left on device")
}

// The library is the one in chartjs/README.md, and the page has all of it, with the licences that must accompany it.
func TestTheLibraryIsTheOneThatIsNamed(t *testing.T) {
	read := func(name string) string {
		content, err := os.ReadFile("chartjs/" + name)
		require.NoError(t, err)
		return string(content)
	}
	library, readme := read("chart.umd.min.js"), read("README.md")
	assert.Contains(t, readme, fmt.Sprintf("`%x`", sha256.Sum256([]byte(library))))
	version := regexp.MustCompile(`Chart\.js v(\S+)`).FindStringSubmatch(library)
	require.NotNil(t, version)
	assert.Contains(t, readme, "# Chart.js "+version[1]+"\n")

	page := write(t, output())
	code, _, _ := strings.Cut(library, "//# sourceMappingURL")
	assert.True(t, strings.Contains(page, code)) //nolint:testifylint // the whole file would be printed
	for _, licence := range []string{"LICENSE.md", "LICENSE-color.md"} {
		assert.Contains(t, page, strings.ReplaceAll(regexp.MustCompile(`Copyright.*`).FindString(read(licence)), "&", "&amp;"))
	}
	assert.Equal(t, 2, strings.Count(page, "Permission is hereby granted"))
}
