package router

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// mark is what a reader gives a viewer that it sends to another: the other is to take it, and to let in the page of origin, which
// the reader has let in. It is good for one connect within markLifetime.
//
// The time is Redis'. The fleet shares a secret, so that a page which CORS_ORIGINS does not let in cannot make a mark. Nor can
// it use one that was given to somebody else where credentials count, because the mark names those.
type mark struct {
	at          time.Time
	nonce       uint64
	credentials uint64
	target      uint64 // a hash of the instance that the viewer is sent to
	origin      string

	body, signature []byte // as it was parsed
}

func newMark(now time.Time, v Viewer, target string) mark {
	return mark{at: now, nonce: rand.Uint64(), credentials: hashOf(v.Credentials), target: hashOf(target), origin: v.Origin}
}

// hashOf is a hash by which a mark names credentials, and an instance.
func hashOf(text string) uint64 {
	sum := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint64(sum[:])
}

const (
	markVersion   = 1
	markHead      = 1 + 4*8
	signatureSize = 16
	// longestMark is enough for any origin: a host's name has up to 253 characters.
	longestMark = 600
)

// sign spells the mark, with a signature.
func (m mark) sign(secret string) string {
	body := make([]byte, 0, markHead+len(m.origin)+signatureSize)
	body = append(body, markVersion)
	body = binary.BigEndian.AppendUint64(body, uint64(m.at.UnixMilli()))
	body = binary.BigEndian.AppendUint64(body, m.nonce)
	body = binary.BigEndian.AppendUint64(body, m.credentials)
	body = binary.BigEndian.AppendUint64(body, m.target)
	body = append(body, m.origin...)
	return base64.RawURLEncoding.EncodeToString(append(body, signature(body, secret)...))
}

func signature(body []byte, secret string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return mac.Sum(nil)[:signatureSize]
}

var errNoMark = errors.New("it is no mark")

// parseMark takes a mark apart. It does not check the signature.
func parseMark(text string) (mark, error) {
	if text == "" || len(text) > longestMark {
		return mark{}, errNoMark
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) < markHead+signatureSize || raw[0] != markVersion {
		return mark{}, errNoMark
	}
	body := raw[:len(raw)-signatureSize]
	return mark{
		at:    time.UnixMilli(int64(binary.BigEndian.Uint64(body[1:]))), //nolint:gosec // a time far away is no good anyway
		nonce: binary.BigEndian.Uint64(body[9:]), credentials: binary.BigEndian.Uint64(body[17:]), target: binary.BigEndian.Uint64(body[25:]),
		origin: string(body[markHead:]), body: body, signature: raw[len(body):],
	}, nil
}

// signedWith reports whether a parsed mark was made by who knows the secret.
func (m mark) signedWith(secret string) bool {
	return secret != "" && hmac.Equal(m.signature, signature(m.body, secret))
}

// age is how long ago the mark was given.
func (m mark) age(now time.Time) time.Duration { return now.Sub(m.at) }

// marks remembers the marks that were used, for as long as they would be good.
type marks struct{ seen recent[struct{}] }

// use reports whether a mark was not used before, and uses it.
func (m *marks) use(nonce uint64) bool { return m.seen.add(nonce, struct{}{}) }

func (m *marks) used(nonce uint64) bool {
	_, used := m.seen.get(nonce)
	return used
}

// recent remembers what was added for markLifetime, and for less where that is too much.
type recent[V any] struct {
	mu     sync.Mutex
	young  map[uint64]V
	old    map[uint64]V
	turned time.Time
}

// mostRecent bounds each of the two generations: some 4 MB.
const mostRecent = 100_000

// turn lets the older generation go when it is time.
func (r *recent[V]) turn() {
	if now := time.Now(); r.young == nil || now.Sub(r.turned) > markLifetime || len(r.young) >= mostRecent {
		if now.Sub(r.turned) > 2*markLifetime {
			r.young = nil
		}
		r.young, r.old, r.turned = map[uint64]V{}, r.young, now
	}
}

// add adds a value, and reports whether there was none.
func (r *recent[V]) add(key uint64, value V) (added bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn()
	_, young := r.young[key]
	_, old := r.old[key]
	r.young[key] = value
	return !young && !old
}

func (r *recent[V]) get(key uint64) (value V, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn()
	if value, found = r.young[key]; !found {
		value, found = r.old[key]
	}
	return value, found
}

// attempts remembers who was sent where.
type attempts struct{ to recent[string] }

func (a *attempts) note(v Viewer, instance string) { a.to.add(a.key(v), instance) }

// again reports whether the viewer was sent to that reader a moment ago. Then it has not been taken there, or wants another
// stream.
func (a *attempts) again(v Viewer, instance string) bool {
	to, found := a.to.get(a.key(v))
	return found && to == instance
}

func (a *attempts) key(v Viewer) uint64 {
	d := xxhash.New()
	_, _ = d.WriteString(v.User + "/" + v.Video) // neither has a slash in it
	return d.Sum64()
}
