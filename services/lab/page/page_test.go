package page_test

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

	"github.com/livecomments/livecomments/services/lab/page"
)

type object = map[string]any

func output(name string) object {
	return object{"command": name, "results": []object{{"strategy": name}}}
}

var count = page.Page{Title: "What was counted", Maker: "the count", Body: "<p>It was <b>counted</b>.</p>", Script: "Page.data;"}

func write(t *testing.T, data any) string {
	t.Helper()
	var written bytes.Buffer
	require.NoError(t, page.Write(&written, count, data))
	return written.String()
}

var island = regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`)

// in returns the data that a browser finds in a page.
func in(t *testing.T, written string) string {
	t.Helper()
	found := island.FindAllStringSubmatch(written, -1)
	require.Len(t, found, 1)
	return found[0][1]
}

func TestAPageHoldsItsDataAsItIs(t *testing.T) {
	data := output("lab simulate")
	want, err := json.Marshal(data)
	require.NoError(t, err)
	written := write(t, data)
	assert.JSONEq(t, string(want), in(t, written))
	assert.Equal(t, written, write(t, data), "the same data gives the same bytes")
	assert.Contains(t, written, "<title>What was counted</title>")
	assert.Contains(t, written, "<p>It was <b>counted</b>.</p>")
	assert.Contains(t, written, "Made by the count of")
}

func TestNothingInTheDataBreaksOut(t *testing.T) {
	harmless := write(t, output("harmless"))
	for _, hostile := range []string{
		`</script><script>alert(1)</script>`, `</SCRIPT ><img src=x onerror=alert(1)>`, `<!--<script>`, `]]>`, `"><b>`, `'-alert(1)-'`, "`${alert(1)}`",
		`{{.Library}}`, `</style><style>`, "\u2028\u2029\x00", `\u003c/script\u003e`, `&lt;`,
	} {
		t.Run(hostile, func(t *testing.T) {
			data := output(hostile)
			want, err := json.Marshal(data)
			require.NoError(t, err)
			written := write(t, data)
			assert.JSONEq(t, string(want), in(t, written), "it arrives as it was")
			assert.NotContains(t, in(t, written), "<")
			assert.Equal(t, island.ReplaceAllString(harmless, ""), island.ReplaceAllString(written, ""), "it is nowhere else")
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
	var written bytes.Buffer
	require.EqualError(t, page.Write(&written, count, object{"share": math.NaN()}), "page: json: unsupported value: NaN")
	assert.Zero(t, written.Len())
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAPageThatCannotBeWrittenIsAnError(t *testing.T) {
	assert.EqualError(t, page.Write(full{}, count, output("")), "no space left on device")
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

	written := write(t, output(""))
	code, _, _ := strings.Cut(library, "//# sourceMappingURL")
	assert.True(t, strings.Contains(written, code)) //nolint:testifylint // the whole file would be printed
	for _, licence := range []string{"LICENSE.md", "LICENSE-color.md"} {
		assert.Contains(t, written, strings.ReplaceAll(regexp.MustCompile(`Copyright.*`).FindString(read(licence)), "&", "&amp;"))
	}
	assert.Equal(t, 2, strings.Count(written, "Permission is hereby granted"))
}
