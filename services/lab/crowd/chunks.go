package crowd

// chunks decodes a chunked body (RFC 9112, section 7.1) as it comes. It takes neither extensions nor trailers, which no reader
// sends.
type chunks struct {
	state  chunkState
	digits uint8 // of the size, so far
	left   int32 // bytes of the chunk's data that are still to come
}

type chunkState uint8

const (
	inSize    chunkState = iota
	afterSize            // its CR has come
	inData
	afterData  // its CR is to come
	beforeSize // the LF before it is to come
	afterLast  // the last chunk's size has come, and the CR of its empty trailer is to come
	beforeEnd  // the LF of that is to come
	complete   // the body is whole
	malformed
)

// maxDigits bounds a chunk's size, so that left does not overflow.
const maxDigits = 7

// decode appends to body what data, which came after it, holds of the chunks' contents. data may follow body in one array.
func (c *chunks) decode(body, data []byte) []byte {
	for len(data) > 0 && c.state != malformed {
		if c.state != inData {
			c.step(data[0])
			data = data[1:]
			continue
		}
		n := min(int(c.left), len(data))
		body, data = append(body, data[:n]...), data[n:]
		if c.left -= int32(n); c.left == 0 { //nolint:gosec // n is at most left
			c.state = afterData
		}
	}
	return body
}

// step takes one byte of what stands around the contents.
func (c *chunks) step(b byte) {
	switch c.state {
	case inSize:
		if digit := hexDigit(b); digit >= 0 && c.digits < maxDigits {
			c.left, c.digits = c.left<<4|digit, c.digits+1
		} else {
			c.follow(b == '\r' && c.digits > 0, afterSize)
		}
	case afterSize:
		c.digits = 0
		if c.left == 0 {
			c.follow(b == '\n', afterLast)
		} else {
			c.follow(b == '\n', inData)
		}
	case afterData:
		c.follow(b == '\r', beforeSize)
	case beforeSize:
		c.follow(b == '\n', inSize)
	case afterLast:
		c.follow(b == '\r', beforeEnd)
	case beforeEnd:
		c.follow(b == '\n', complete)
	default:
		c.state = malformed
	}
}

func (c *chunks) follow(right bool, next chunkState) {
	if c.state = next; !right {
		c.state = malformed
	}
}

// hexDigit is the value of a hexadecimal digit, -1 where b is none.
func hexDigit(b byte) int32 {
	switch {
	case '0' <= b && b <= '9':
		return int32(b - '0')
	case 'a' <= b && b <= 'f':
		return int32(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int32(b-'A') + 10
	}
	return -1
}
