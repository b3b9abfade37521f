package ledger_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/livecomments/livecomments/services/client/ledger"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/reports"
)

func id(n uint64) comment.ID { return comment.ID{Millis: 1_000_000 + n} }

func TestAViewerIsHeldToWhatWasPostedWhileItWatched(t *testing.T) {
	tests := map[string]struct {
		posted, arrived []uint64
		want            ledger.Counts
	}{
		"everything, in order":         {[]uint64{1, 2, 3}, []uint64{1, 2, 3}, ledger.Counts{Consumed: 3}},
		"posted before it watched":     {[]uint64{0, 1}, []uint64{1}, ledger.Counts{Consumed: 1}},
		"one lost in the middle":       {[]uint64{1, 2, 3}, []uint64{1, 3}, ledger.Counts{Consumed: 2, Verification: reports.Verification{Missing: 1}}},
		"the last one lost":            {[]uint64{1, 2, 3}, []uint64{1, 2}, ledger.Counts{Consumed: 2, Verification: reports.Verification{Missing: 1}}},
		"all lost":                     {[]uint64{1, 2, 3}, nil, ledger.Counts{Verification: reports.Verification{Missing: 3}}},
		"one twice":                    {[]uint64{1, 2}, []uint64{1, 2, 2}, ledger.Counts{Consumed: 2, Verification: reports.Verification{Duplicates: 1}}},
		"an earlier one twice":         {[]uint64{1, 2}, []uint64{1, 2, 1}, ledger.Counts{Consumed: 2, Verification: reports.Verification{Duplicates: 1}}},
		"two swapped":                  {[]uint64{1, 2, 3}, []uint64{2, 1, 3}, ledger.Counts{Consumed: 3, Verification: reports.Verification{Misordered: 1}}},
		"somebody else's comment":      {[]uint64{1, 3}, []uint64{1, 2, 3}, ledger.Counts{Consumed: 3}},
		"somebody else's, twice":       {[]uint64{1}, []uint64{1, 2, 2}, ledger.Counts{Consumed: 2, Verification: reports.Verification{Duplicates: 1}}},
		"answers come in other orders": {[]uint64{3, 1, 2}, []uint64{1, 2, 3}, ledger.Counts{Consumed: 3}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			book := ledger.New()
			log, other := book.NewLog("v"), book.NewLog("another")
			log.Connected(id(0))
			other.Connected(id(0))
			for _, n := range test.arrived {
				log.Arrived(id(n), time.Now())
			}
			for _, n := range test.posted {
				sent := time.Now()
				if n == 0 {
					sent = sent.Add(-time.Minute)
				}
				book.Posted("v", id(n), sent)
			}
			book.Check(true)
			assert.Equal(t, test.want, log.Counts())
			assert.Equal(t, ledger.Counts{}, other.Counts(), "nothing was posted to its video")
		})
	}
}

func TestWhatIsOnItsWayIsPendingUntilALaterOneArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := ledger.New()
		log := book.NewLog("v")
		log.Connected(id(0))
		for n := uint64(1); n <= 3; n++ {
			book.Posted("v", id(n), time.Now())
		}
		book.Check(false)
		assert.Zero(t, log.Counts().Pending, "it has hardly been sent")
		assert.Equal(t, 3, book.Due())
		time.Sleep(time.Minute)
		book.Check(false)
		assert.Equal(t, reports.Verification{Pending: 3}, log.Counts().Verification)

		log.Arrived(id(1), time.Now())
		log.Arrived(id(3), time.Now())
		book.Check(false)
		assert.Equal(t, reports.Verification{Missing: 1}, log.Counts().Verification)
		assert.Equal(t, 0, book.Due())
		log.Arrived(id(2), time.Now())
		book.Check(false)
		assert.Equal(t, ledger.Counts{Consumed: 3, Verification: reports.Verification{Misordered: 1}}, log.Counts(), "it was late, not lost")
	})
}

func TestAnAnswerThatComesLateFindsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := ledger.New()
		log := book.NewLog("v")
		log.Connected(id(0))
		log.Arrived(id(2), time.Now())
		book.Posted("v", id(2), time.Now())
		book.Check(false)
		// The answer to the post of 1 was held up, and the comment is lost.
		book.Posted("v", id(1), time.Now())
		time.Sleep(10 * time.Second)
		book.Check(false)
		assert.Equal(t, reports.Verification{Missing: 1}, log.Counts().Verification)
	})
}

func TestALaterStreamDoesNotExcuseWhatLiesBetween(t *testing.T) {
	book := ledger.New()
	log := book.NewLog("v")
	log.Trying()
	assert.Equal(t, uint64(1), log.Counts().NeverConnected)
	log.Connected(id(5))
	assert.Zero(t, log.Counts().NeverConnected)
	log.Connected(id(9))
	book.Posted("v", id(7), time.Now())
	log.Arrived(id(10), time.Now())
	book.Check(true)
	assert.Equal(t, reports.Verification{Missing: 1, Reconnects: 1}, log.Counts().Verification)
}

func TestAReaderThatClaimsAPositionInTheFutureIsNotBelieved(t *testing.T) {
	book := ledger.New()
	log := book.NewLog("v")
	log.Connected(id(1000))
	time.Sleep(time.Millisecond)
	for n := uint64(1); n <= 10; n++ {
		book.Posted("v", id(n), time.Now())
	}
	book.Check(true)
	assert.Equal(t, uint64(10), log.Counts().Missing)
}

func TestLatencyIsFromThePostToTheArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := ledger.New()
		log := book.NewLog("v")
		log.Connected(id(0))
		for n := uint64(1); n <= 100; n++ {
			sent := time.Now()
			time.Sleep(time.Duration(n) * time.Millisecond)
			log.Arrived(id(n), time.Now())
			book.Posted("v", id(n), sent)
		}
		book.Check(true)
		latency := book.Times().Latency
		assert.Equal(t, int64(100), latency.Count)
		assert.InDelta(t, 50, latency.P50, 1)
		assert.InDelta(t, 99, latency.P99, 1)
		assert.InDelta(t, 100, latency.Max, 1)
	})
}

func TestAnOutageIsFromTheEndOfAStreamToTheFirstEventOfTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := ledger.New()
		log := book.NewLog("v")
		connect := func(after time.Duration) {
			log.Trying()
			time.Sleep(after)
			log.Connected(id(0))
		}
		connect(time.Second)
		time.Sleep(time.Minute)
		log.Ended()
		time.Sleep(2 * time.Second)
		log.Trying() // in vain
		time.Sleep(3 * time.Second)
		connect(time.Second)
		times := book.Times()
		assert.Equal(t, int64(2), times.FirstEvent.Count)
		assert.InDelta(t, 1000, times.FirstEvent.Max, 1, "from the request that was answered")
		assert.Equal(t, int64(1), times.Outage.Count, "the first stream ends no outage")
		assert.InDelta(t, 6000, times.Outage.Max, 6)
	})
}

func TestAViewerCanKeepItsOwnTimes(t *testing.T) {
	book := ledger.New()
	one, other := book.NewLog("v"), book.NewLog("v")
	one.KeepTimes()
	one.Connected(id(0))
	other.Connected(id(0))
	book.Posted("v", id(1), time.Now())
	one.Arrived(id(1), time.Now())
	other.Arrived(id(1), time.Now())
	book.Check(true)
	assert.Equal(t, int64(1), one.Times().Latency.Count)
	assert.Zero(t, other.Times())
	assert.Equal(t, int64(2), book.Times().Latency.Count)
}

func TestAccountsOfThoseWhoOnlyWatchDoNotGrowWithoutBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := ledger.New()
		log := book.NewLog("v")
		log.Connected(id(0))
		for n := uint64(1); n <= 1000; n++ {
			log.Arrived(id(n), time.Now())
			time.Sleep(time.Second)
		}
		book.Check(false)
		_, arrivals := book.Held("v")
		assert.Less(t, arrivals, 100)
	})
}

func TestAccountsDoNotGrowWithoutBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := ledger.New()
		log := book.NewLog("v")
		log.Connected(id(0))
		for n := uint64(1); n <= 10_000; n++ {
			log.Arrived(id(1000*n), time.Now())
			book.Posted("v", id(1000*n), time.Now())
			time.Sleep(time.Second)
			if n%100 == 0 {
				book.Check(false)
			}
		}
		posts, arrivals := book.Held("v")
		assert.Less(t, posts, 200)
		assert.Less(t, arrivals, 400)
		assert.Equal(t, ledger.Counts{Consumed: 10_000}, log.Counts())
	})
}
