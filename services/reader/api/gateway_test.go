package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func behindGateway(cfg *api.Config) { cfg.Router.BehindGateway = true }

// told is what a gateway is told of a viewer.
type told struct{ Reader, Mark string }

// locate asks a reader where a viewer belongs, as a gateway does.
func locate(t *testing.T, r *servertest.Service, query string) (at told) {
	t.Helper()
	answer := servertest.Do(t, "GET", r.URL+"/place?"+query, "")
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	require.NoError(t, json.Unmarshal([]byte(answer.Body), &at))
	return at
}

func TestAGatewayTakesAViewerToItsReaderWhicheverItAsks(t *testing.T) {
	for _, routing := range []string{"hash", "bounded"} {
		t.Run(routing, func(t *testing.T) {
			t.Parallel()
			brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
				readers := fleet(t, server, 3, routing, behindGateway)
				for i, home := range readers {
					video := videoOf(t, i, 3, routing)
					for _, asked := range readers {
						at := locate(t, asked, "userid=me&videoid="+video)
						require.Equal(t, home.URL, at.Reader)
						byGet := servertest.Watch(t, "GET", at.Reader+"/connect?userid=me&videoid="+video, "", "Livecomments-Mark", at.Mark)
						assert.Equal(t, fmt.Sprint("reader-", i+1), instance(t, byGet))
						at = locate(t, asked, "userid=you&videoid="+video)
						byPost := servertest.Watch(t, "POST", at.Reader+"/connect", `{"userid":"you","videoid":"`+video+`"}`, "Livecomments-Mark", at.Mark)
						assert.Equal(t, fmt.Sprint("reader-", i+1), instance(t, byPost))
					}
					home.AwaitMetric(t, `livecomments_reader_arrivals_total{how="placed"} 6`)
				}
			})
		})
	}
}

func TestNobodyIsRedirectedBehindAGatewayAndWhoCouldNotBePlacedIsMoved(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	readers := fleet(t, server, 2, "hash", func(cfg *api.Config) { cfg.Router.BehindGateway, cfg.Router.MoveRate = true, 1 })
	video := videoOf(t, 1, 2, "hash")
	// Neither a mark in the query, which strangers can write, nor one for another reader has a viewer turned away.
	foreign := locate(t, readers[0], "userid=me&videoid="+video).Mark
	for _, s := range []*servertest.Stream{
		servertest.Watch(t, "GET", readers[0].URL+"/connect?userid=me&videoid="+video+"&placed="+foreign, ""),
		servertest.Watch(t, "GET", readers[0].URL+"/connect?userid=me&videoid="+video, "", "Livecomments-Mark", foreign),
	} {
		assert.Equal(t, "reader-1", instance(t, s))
		assert.Contains(t, s.Expect(t).Data, `"reason":"moved"`)
		s.ExpectEnd(t)
	}
	readers[0].AwaitMetric(t, `livecomments_reader_arrivals_total{how="unplaced"} 1`)
	readers[0].AwaitMetric(t, `livecomments_reader_arrivals_total{how="stray"} 1`)
}

func TestAGatewayIsToldOfNoReaderThatDrainsNorOfAFullOne(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	readers := fleet(t, server, 3, "hash", func(cfg *api.Config) {
		cfg.Router.BehindGateway, cfg.MaxConnections, cfg.Retry = true, 1, time.Second
	})
	video := videoOf(t, 0, 3, "hash")
	watch := func() {
		at := locate(t, readers[1], "userid=me&videoid="+video)
		servertest.Watch(t, "GET", at.Reader+"/connect?userid=me&videoid="+video, "", "Livecomments-Mark", at.Mark)
	}
	watch()
	require.Eventually(t, func() bool { return locate(t, readers[1], "userid=you&videoid="+video).Reader != readers[0].URL }, 5*time.Second, 20*time.Millisecond)
	readers[2].Tell()
	readers[1].AwaitMetric(t, "livecomments_reader_fleet_readers 2")
	assert.Equal(t, readers[1].URL, locate(t, readers[1], "userid=you&videoid="+video).Reader)
	watch()
	require.Eventually(t, func() bool {
		answer := servertest.Do(t, "GET", readers[1].URL+"/place?userid=you&videoid="+video, "")
		return answer.Status == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") != ""
	}, 5*time.Second, 20*time.Millisecond)
}

func TestOnlyAReaderBehindAGatewaySaysWhereAViewerBelongs(t *testing.T) {
	server := brokertest.Embedded(t)
	r := fleet(t, server, 1, "bounded", defaults)[0]
	assert.Equal(t, http.StatusNotFound, r.Status("/place?userid=me&videoid=v"))

	r = fleet(t, brokertest.Embedded(t), 1, "bounded", behindGateway)[0]
	for query, says := range map[string]string{
		"":                                    "userid and videoid are required",
		"userid=me":                           "userid and videoid are required",
		"userid=me&videoid=a%20b":             "videoid",
		"userid=me&videoid=v&lastEventId=now": "lastEventId",
	} {
		answer := servertest.Do(t, "GET", r.URL+"/place?"+query, "")
		assert.Equal(t, http.StatusBadRequest, answer.Status, query)
		assert.Contains(t, answer.Body, says)
	}
}
