package broker

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/comment"
)

func TestAMessageIsReadAsItIsPublishedAndStored(t *testing.T) {
	five, four := comment.ID{Millis: 5}, comment.ID{Millis: 4, Sequence: 2}
	whole := Message{Kind: Comment, ID: five, Previous: four, Data: `{"comment":"with  two spaces"}`}
	tests := map[string]struct {
		payload   string
		published *Message
		fields    map[string]any
		stored    Message
	}{
		"a comment": {
			`1 comment 5-0 4-2 {"comment":"with  two spaces"}`, &whole,
			map[string]any{"v": "1", "k": "comment", "p": "4-2", "d": whole.Data},
			whole,
		},
		"a kind of tomorrow": {
			"1 pinned 5-0 4-2 {}", &Message{Kind: "pinned", ID: five, Previous: four, Data: "{}"},
			map[string]any{"v": "1", "k": "pinned", "p": "4-2", "d": "{}"},
			Message{Kind: "pinned", ID: five, Previous: four, Data: "{}"},
		},
		"without data":      {"1 comment 5-0 4-2 ", &Message{Kind: Comment, ID: five, Previous: four}, map[string]any{"v": "1", "k": "comment", "p": "4-2"}, Message{Kind: Comment, ID: five, Previous: four}},
		"another version":   {"2 comment 5-0 4-2 {}", nil, map[string]any{"v": "2", "k": "comment", "p": "4-2", "d": "{}"}, Message{ID: five}},
		"no version":        {"5-0 {}", nil, map[string]any{"c": "{}"}, Message{ID: five}},
		"no kind":           {"1  5-0 4-2 {}", nil, map[string]any{"v": "1", "p": "4-2", "d": "{}"}, Message{ID: five, Previous: four, Data: "{}"}},
		"a bad id":          {"1 comment five 4-2 {}", nil, nil, Message{ID: five}},
		"a bad predecessor": {"1 comment 5-0 four {}", nil, map[string]any{"v": "1", "k": "comment", "p": "four", "d": "{}"}, Message{ID: five}},
		"nothing":           {"", nil, map[string]any{}, Message{ID: five}},
		"words":             {"hello out there", nil, map[string]any{"v": 1, "k": 2}, Message{ID: five}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			published, err := parseMessage(test.payload)
			if test.published == nil {
				require.Error(t, err)
			} else {
				require.NoError(t, err)
				assert.Equal(t, *test.published, published)
			}
			assert.Equal(t, test.stored, parseEntry(redis.XMessage{ID: "5-0", Values: test.fields}))
		})
	}
}

func FuzzParseMessage(f *testing.F) {
	for _, payload := range []string{`1 comment 5-0 4-2 {"a":1}`, "1 pinned 5-0 4-2 {}", "2 comment 5-0 4-2 {}", "5-0 {}", "1  5-0 4-2 ", "1 comment 5-0 4-2", "\x00"} {
		f.Add(payload)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		m, err := parseMessage(payload)
		if err == nil {
			require.Equal(t, payload, fmt.Sprintf("%s %s %s %s %s", version, m.Kind, m.ID, m.Previous, m.Data), "what is understood has one spelling")
		}
	})
}

func TestNoTwoInstallationsShareAName(t *testing.T) {
	owner := map[string]string{}
	for _, prefix := range []string{"", "shop", "video", "db2", "2", "shop.2", "comments"} {
		for _, database := range []string{"0", "2", "12"} {
			n, err := newNames(prefix, database)
			require.NoError(t, err)
			for _, video := range []string{"v", "video:v", "2:video:v", "shop", "shop:video:v", "v:2"} {
				assert.Equal(t, video, n.video(n.channel(video)))
				// Keys of different databases are apart anyway; channels are not.
				for _, name := range []string{n.channel(video), n.history(video)} {
					mine := fmt.Sprint(prefix, " in ", database, ": ", video)
					assert.Empty(t, owner[name], "%s has %s", mine, name)
					owner[name] = mine
				}
			}
		}
	}
	first, err := newNames("", "0")
	require.NoError(t, err)
	assert.Equal(t, "video:v1", first.channel("v1"))
	assert.Equal(t, "comments:{video:v1}", first.history("v1"), "the braces put it into the cluster slot of its channel")
}
