package comment

import (
	"encoding/json"
	"strings"
)

// Encode is the comment's JSON in one line, as it travels through Redis and to the viewers: see [EscapeLineBreaks].
func (c Comment) Encode() (string, error) {
	data, err := json.Marshal(c)
	return EscapeLineBreaks(string(data)), err
}

// EscapeLineBreaks escapes in a JSON text what JSON allows in a string as it is and some clients take for the end of a
// line: DEL, the C1 controls with NEL among them (U+007F to U+009F), and U+2028 and U+2029. C0 controls, which only a text
// that is not JSON can have in a string, are escaped too, except for tab, line feed and carriage return: those may stand
// between values. The value of the JSON stays, because an escape means the character itself. A text with nothing to
// escape is returned as it is, without an allocation.
func EscapeLineBreaks(text string) string {
	at := nextLineBreak(text)
	if at == len(text) {
		return text
	}
	var escaped strings.Builder
	escaped.Grow(len(text) + 16)
	for at < len(text) {
		escaped.WriteString(text[:at])
		r, size := lineBreak(text[at:])
		escaped.WriteString(`\u`)
		for shift := 12; shift >= 0; shift -= 4 {
			escaped.WriteByte("0123456789abcdef"[r>>shift&0xf])
		}
		text = text[at+size:]
		at = nextLineBreak(text)
	}
	escaped.WriteString(text)
	return escaped.String()
}

// nextLineBreak is where the first character that must be escaped begins, len(text) where there is none.
func nextLineBreak(text string) int {
	for i := 0; i < len(text); i++ {
		// Most bytes are none of these, and are passed over by two comparisons.
		if b := text[i]; b < 0x20 || b == 0x7f || b == 0xc2 || b == 0xe2 {
			if _, size := lineBreak(text[i:]); size > 0 {
				return i
			}
		}
	}
	return len(text)
}

// lineBreak is the character at the beginning of text and its length in UTF-8, where it must be escaped; else the length
// is 0. It goes by bytes: text may be another publisher's, and hold a piece that is not UTF-8.
func lineBreak(text string) (r rune, size int) {
	switch b := text[0]; {
	case b < 0x20 && b != '\t' && b != '\n' && b != '\r', b == 0x7f:
		return rune(b), 1
	case b == 0xc2 && len(text) > 1 && text[1] >= 0x80 && text[1] <= 0x9f:
		return rune(text[1]), 2
	case strings.HasPrefix(text, "\u2028"), strings.HasPrefix(text, "\u2029"):
		return 0x2000 | rune(text[2]&0x3f), 3
	}
	return 0, 0
}
