package server

import "time"

// SetBodyTimeout changes how long clients may take to send a body, and returns how to change it back.
func SetBodyTimeout(timeout time.Duration) (restore func()) {
	before := bodyTimeout
	bodyTimeout = timeout
	return func() { bodyTimeout = before }
}

// SetHeaderTimeout changes how long clients may take to send a request's header, and returns how to change it back.
func SetHeaderTimeout(timeout time.Duration) (restore func()) {
	before := headerTimeout
	headerTimeout = timeout
	return func() { headerTimeout = before }
}
