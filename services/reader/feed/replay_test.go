package feed

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/livecomments/livecomments/services/shared/broker"
)

func TestAPageThatIsReadForSeveralViewersCoversThoseWhoMissNothingOfIt(t *testing.T) {
	tests := map[string]struct {
		history, asked, resumes string
		covered                 bool
	}{
		"who asked":                                   {"3>4 4>5 5>6", "4", "4", true},
		"who asked for what has been trimmed":         {"3>4 4>5 5>6", "2", "2", false},
		"who resumes within it":                       {"3>4 4>5 5>6", "2", "5", true},
		"who resumes at its end":                      {"3>4 4>5 5>6", "2", "6", true},
		"who resumes right before the oldest left":    {"3>4 4>5 5>6", "1", "3", true},
		"who resumes with what it should have had":    {"3>5 5>6", "1", "4", false},
		"who resumes with what is not yet in it":      {"3>4 4>5", "1", "9", false},
		"who resumes in a history that has gone away": {"", "1", "3", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			query := broker.Query{After: number(t, test.asked)}
			page := history(t, test.history, query)
			assert.Equal(t, test.covered, covers(page, query, number(t, test.resumes)))
		})
	}
}
