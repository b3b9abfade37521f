package comment_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/comment"
)

// lineBreaks are the characters at which Python's str.splitlines, JavaScript and terminals may end a line, except for
// those that JSON never has in a string as they are.
const lineBreaks = "\u007f\u0080\u0085\u009f\u2028\u2029"

func TestNoClientTakesACharacterOfACommentForALineEnd(t *testing.T) {
	for name, text := range map[string]string{
		"next line":            "a\u0085b",
		"first and last":       "\u0085\u0085",
		"delete":               "a\u007fb",
		"bounds of C1":         "\u0080\u009f",
		"separators":           "a\u2028b\u2029",
		"separators of ASCII":  "a\v\f\x1c\x1d\x1e\x1fb\r\n\t\x00",
		"those of UTF-8 alike": "\u00a0\u00c2\u2027\u202a£â€\u20a8",
		"all other text":       "héllo <b> \"q\" \\ 🎉 日本",
	} {
		t.Run(name, func(t *testing.T) {
			c := comment.Comment{UserID: "u", VideoID: "v", Text: text, Timestamp: time.UnixMilli(1700000000123).UTC()}
			line, err := c.Encode()
			require.NoError(t, err)
			assert.NotContains(t, line, "\n")
			assert.False(t, strings.ContainsAny(line, lineBreaks+"\r\v\f\x1c\x1d\x1e"), "%q", line)
			var back comment.Comment
			require.NoError(t, json.Unmarshal([]byte(line), &back))
			assert.Equal(t, c, back, "it is read back as it was")
		})
	}
}

func TestWhatIsNotJSONOrNotUTF8LosesNothingButItsLineBreaks(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "",
		"\xc2":              "\xc2",
		"a\xc2b":            "a\xc2b",
		"\xe2\x80":          "\xe2\x80",
		"\x85":              "\x85",
		"\xe2\xc2\x85":      "\xe2" + `\u0085`,
		"{\n\t\"a\":1\r\n}": "{\n\t\"a\":1\r\n}",
		"\"a\vb\"":          `"a\u000bb"`,
	} {
		assert.Equal(t, want, comment.EscapeLineBreaks(text), "%q", text)
	}
}

func TestATextWithNothingToEscapeIsNotCopied(t *testing.T) {
	text := `{"comment":"` + strings.Repeat("héllo £ â 🎉 ", 50) + `"}`
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = comment.EscapeLineBreaks(text) }))
}

func FuzzEscapeLineBreaks(f *testing.F) {
	f.Add("a\u0085b")
	f.Add("\u2028\u2029\u007f\u009f\u0080")
	f.Add(`plain \u0085 "quoted"`)
	f.Fuzz(func(t *testing.T, text string) {
		var quoted strings.Builder
		encoder := json.NewEncoder(&quoted)
		encoder.SetEscapeHTML(false)
		require.NoError(t, encoder.Encode(text))
		given := strings.TrimSuffix(quoted.String(), "\n")

		escaped := comment.EscapeLineBreaks(given)
		if strings.ContainsAny(escaped, lineBreaks+"\r\n\v\f\x1c\x1d\x1e") || strings.ContainsFunc(escaped, func(r rune) bool { return r >= 0x7f && r <= 0x9f }) {
			t.Errorf("%q has a line break left", escaped)
		}
		var want, got string
		require.NoError(t, json.Unmarshal([]byte(given), &want))
		require.NoError(t, json.Unmarshal([]byte(escaped), &got))
		assert.Equal(t, want, got)
		assert.True(t, utf8.ValidString(escaped))
	})
}
