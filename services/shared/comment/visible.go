package comment

import (
	"strings"
	"unicode"
)

// visible reports whether a text shows anything.
func visible(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool {
		return !unicode.IsSpace(r) && !unicode.IsControl(r) && !ignorable(r) && !unicode.Is(blank, r)
	})
}

// ignorable is Unicode's property Default_Ignorable_Code_Point: characters that are shown as nothing, such as joiners,
// variation selectors and tags. It is derived from others as DerivedCoreProperties.txt says.
func ignorable(r rune) bool {
	return unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Cf, unicode.Variation_Selector) &&
		!unicode.In(r, unicode.White_Space, unicode.Prepended_Concatenation_Mark, shownFormats)
}

// shownFormats are the format characters that the derivation leaves out: the annotation characters and the controls of
// Egyptian hieroglyphs.
var shownFormats = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0xfff9, Hi: 0xfffb, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0x13430, Hi: 0x13440, Stride: 1}},
}

// blank are characters whose glyph is empty, and that Unicode has nonetheless as letters, marks or symbols.
var blank = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x2800, Hi: 0x2800, Stride: 1}, // BRAILLE PATTERN BLANK
		{Lo: 0xfff9, Hi: 0xfffb, Stride: 1}, // INTERLINEAR ANNOTATION ANCHOR, SEPARATOR, TERMINATOR
	},
	R32: []unicode.Range32{
		{Lo: 0x13441, Hi: 0x13442, Stride: 1}, // EGYPTIAN HIEROGLYPH FULL BLANK, HALF BLANK
		{Lo: 0x16fe4, Hi: 0x16fe4, Stride: 1}, // KHITAN SMALL SCRIPT FILLER
		{Lo: 0x1d159, Hi: 0x1d159, Stride: 1}, // MUSICAL SYMBOL NULL NOTEHEAD
	},
}
