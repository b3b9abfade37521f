package comment_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/comment"
)

func TestACommentIsRefusedForTheFirstRuleItBreaks(t *testing.T) {
	const missing = "userid, videoid, and comment are required"
	tests := map[string]struct {
		user, video, text string
		want              string
	}{
		"complete":                     {"user1", "video1", "hello", ""},
		"no user":                      {"", "video1", "hello", missing},
		"no video":                     {"user1", "", "hello", missing},
		"no text":                      {"user1", "video1", "", missing},
		"blank text":                   {"user1", "video1", " \t\n", missing},
		"every legal id character":     {"azAZ09._:-", "azAZ09._:-", "hello", ""},
		"id of 128 characters":         {strings.Repeat("u", 128), "video1", "hello", ""},
		"id of 129 characters":         {strings.Repeat("u", 129), "video1", "hello", "userid must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"},
		"braces, which pick a slot":    {"user1", "{video}", "hello", "videoid must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"},
		"a glob":                       {"user1", "*", "hello", "videoid must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"},
		"letters outside ASCII":        {"üser", "video1", "hello", "userid must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"},
		"a line break":                 {"user1", "video\n1", "hello", "videoid must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"},
		"2,000 characters of 4 bytes":  {"user1", "video1", strings.Repeat("🎉", 2000), ""},
		"2,001 characters of one byte": {"user1", "video1", strings.Repeat("x", 2001), "comment must be at most 2000 characters, not 2001"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := comment.Comment{UserID: test.user, VideoID: test.video, Text: test.text}.Validate()
			if test.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, test.want)
			}
		})
	}
}

func TestTheJSONOfACommentHasTheFieldsOfTheContract(t *testing.T) {
	c := comment.Comment{UserID: "u", VideoID: "v", Text: "hi <b>", Timestamp: time.UnixMilli(1700000000123).UTC()}
	data, err := json.Marshal(c)
	require.NoError(t, err)
	assert.JSONEq(t, `{"userid":"u","videoid":"v","comment":"hi <b>","timestamp":"2023-11-14T22:13:20.123Z"}`, string(data))

	c.ID = comment.ID{Millis: 1700000000123, Sequence: 4}
	data, err = json.Marshal(c)
	require.NoError(t, err)
	assert.Contains(t, string(data), `"id":"1700000000123-4"`)

	var back comment.Comment
	require.NoError(t, json.Unmarshal(data, &back))
	assert.Equal(t, c, back)
}

func TestIDsOrderAsRedisOrdersThem(t *testing.T) {
	ascending := []comment.ID{{}, {0, 1}, {9, 0}, {9, 10}, {10, 2}, {10, 3}, {1700000000000, 0}, {^uint64(0), ^uint64(0)}}
	for i, a := range ascending {
		for j, b := range ascending {
			assert.Equal(t, i > j, a.After(b), "%s after %s", a, b)
		}
		if i > 0 {
			assert.True(t, a.After(a.Previous()))
			assert.False(t, ascending[i-1].After(a.Previous()))
		}
	}
	assert.Equal(t, comment.ID{}, comment.ID{}.Previous())
}

func TestWhatIsNotAnIDIsRefused(t *testing.T) {
	for _, s := range []string{"", "-", "1", "1-", "-1", "1-2-3", "a-0", "0-b", "+1-0", "-1-0", "01-0", " 1-0", "1-0 ", "18446744073709551616-0", "18446744073709551615-18446744073709551615", "$", "*"} {
		_, err := comment.ParseID(s)
		assert.Error(t, err, "%q", s)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("1700000000000-0")
	f.Add("0-0")
	f.Add("1-18446744073709551615")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := comment.ParseID(s)
		if err == nil && id.String() != s {
			t.Errorf("ParseID(%q).String() = %q", s, id)
		}
	})
}
