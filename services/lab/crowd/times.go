package crowd

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Times is a histogram of times in microseconds. The zero Times has none. Its text is that of HdrHistogram's V2 encoding.
type Times struct{ *hdrhistogram.Histogram }

// newTimes holds up to a minute, to three digits.
func newTimes() Times { return Times{hdrhistogram.New(1, time.Minute.Microseconds(), 3)} }

// record notes a time. What is over a minute counts as that.
func (t Times) record(nanoseconds int64) {
	_ = t.RecordValue(min(max(1, nanoseconds/1000), time.Minute.Microseconds()))
}

// add adds the times of others to t's own.
func (t *Times) add(others Times) {
	if others.Histogram == nil {
		return
	}
	if t.Histogram == nil {
		*t = newTimes()
	}
	t.Merge(others.Histogram)
}

// Quantile is the time that percent of all do not exceed, 0 where there are none.
func (t Times) Quantile(percent float64) time.Duration {
	if t.Histogram == nil {
		return 0
	}
	return time.Duration(t.ValueAtQuantile(percent)) * time.Microsecond
}

// MarshalText encodes the times.
func (t Times) MarshalText() ([]byte, error) {
	return t.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText decodes what MarshalText has encoded.
func (t *Times) UnmarshalText(text []byte) (err error) {
	t.Histogram, err = hdrhistogram.Decode(text)
	return err
}
