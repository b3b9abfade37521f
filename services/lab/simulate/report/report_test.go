package report_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/lab/simulate/report"
)

func TestThePageHoldsTheDataAndLoadsNothing(t *testing.T) {
	data := `{"command":"lab simulate --seed=7"}`
	var page bytes.Buffer
	require.NoError(t, report.Write(&page, json.RawMessage(data)))
	assert.Contains(t, page.String(), `<script type="application/json" id="data">`+data+`</script>`)
	loads := regexp.MustCompile(`(?i)<[^>]*\s(?:src|srcset|href|action|data|poster)\s*=\s*["']?([^"'\s>]*)`).FindAllStringSubmatch(page.String(), -1)
	var addresses []string
	for _, load := range loads {
		addresses = append(addresses, load[1])
	}
	assert.Equal(t, []string{"data:,", "https://github.com/livecomments/livecomments"}, addresses, "an empty icon, and a link for the reader")
	assert.Contains(t, page.String(), `<a href="https://github.com/livecomments/livecomments">`)
	assert.NotRegexp(t, `@import|url\(|sourceMappingURL`, page.String())
	assert.Contains(t, page.String(), `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; `, "the browser is told so too")
}
