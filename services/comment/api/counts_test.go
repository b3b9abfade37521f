package api

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/livecomments/livecomments/services/shared/reports"
)

func TestVideosThatSomebodyInventsPushOutTheQuietestAndNeverTheTotal(t *testing.T) {
	c := newCounts()
	for range 3 {
		c.add("busy")
		c.add("quiet")
	}
	for i := range countedVideos {
		c.add(fmt.Sprint("invented-", i))
		if i%1000 == 0 {
			c.add("busy")
		}
	}
	const invented, busy = countedVideos, 3 + countedVideos/1000
	report := c.report()
	assert.Equal(t, countedVideos, report.CommentedVideos, "no more than these are counted one by one")
	assert.Equal(t, uint64(invented+busy+3), report.TotalComments, "the total has them all")
	assert.Equal(t, uint64(invented+busy+3), c.total())
	assert.Len(t, report.CommentsByVideo, reports.ListCap)
	assert.Equal(t, uint64(busy), report.CommentsByVideo["busy"])
	assert.NotContains(t, report.CommentsByVideo, "quiet", "it was commented on longest ago")
	c.add("quiet")
	assert.Equal(t, uint64(1), c.byVideo.Values()[countedVideos-1], "and begins afresh")
}
