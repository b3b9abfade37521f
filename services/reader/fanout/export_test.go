package fanout

import "time"

// nowhere is a socket that takes everything, so that a benchmark measures what the engine adds to the kernel's part.
type nowhere struct{}

func (nowhere) write(p []byte) (int, error) { return len(p), nil }
func (nowhere) watch(uint64) error          { return nil }
func (nowhere) flush() error                { return nil }
func (nowhere) receive() error              { return nil }
func (nowhere) held() (int, uint32)         { return 0, 0 }
func (nowhere) silence() time.Duration      { return 0 }
func (nowhere) close(bool)                  {}

// ServeNowhere adds a stream whose viewer takes everything at no cost.
func (e *Engine) ServeNowhere(cursor Cursor) {
	e.serve(e.writerOf(cursor.topic), nowhere{}, cursor, Opening{Head: []byte("hello")}, func(Reason) {})
}

// unpolled is a poller that never signals.
type unpolled chan struct{}

func (u unpolled) run(func(...signal)) { <-u }
func (u unpolled) close()              { close(u) }

// NewUnpolled makes an engine that does not wait for the kernel, so that a test's clock can move it. It serves only nowhere.
func NewUnpolled(options Options) (*Engine, error) {
	e, err := New(options)
	if err != nil {
		return nil, err
	}
	for _, w := range e.writers {
		w.poller.close()
		w.poller = make(unpolled)
	}
	return e, nil
}
