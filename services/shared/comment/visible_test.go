package comment_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/comment"
)

func validate(text string) error {
	return comment.Comment{UserID: "u", VideoID: "v", Text: text}.Validate()
}

func TestACommentThatShowsNothingIsRefused(t *testing.T) {
	for name, r := range map[string]rune{
		"zero width space":          0x200b,
		"zero width joiner":         0x200d,
		"word joiner":               0x2060,
		"invisible times":           0x2062,
		"byte order mark":           0xfeff,
		"soft hyphen":               0x00ad,
		"combining grapheme joiner": 0x034f,
		"Arabic letter mark":        0x061c,
		"Mongolian vowel separator": 0x180e,
		"right-to-left override":    0x202e,
		"isolate":                   0x2066,
		"variation selector 16":     0xfe0f,
		"variation selector 256":    0xe01ef,
		"Mongolian variation":       0x180b,
		"tag":                       0xe0041,
		"cancel tag":                0xe007f,
		"reserved for ignorables":   0xe0fff,
		"Hangul filler":             0x3164,
		"half width Hangul filler":  0xffa0,
		"Hangul choseong filler":    0x115f,
		"Hangul jungseong filler":   0x1160,
		"Khmer inherent vowel":      0x17b4,
		"Braille blank":             0x2800,
		"musical null notehead":     0x1d159,
		"musical begin beam":        0x1d173,
		"shorthand overlap":         0x1bca0,
		"annotation anchor":         0xfff9,
		"annotation terminator":     0xfffb,
		"Egyptian blank":            0x13441,
		"null":                      0x00,
		"escape":                    0x1b,
		"delete":                    0x7f,
		"start of heading":          0x01,
		"C1 control":                0x9f,
	} {
		t.Run(name, func(t *testing.T) {
			for _, text := range []string{string(r), string([]rune{r, r, r}), string([]rune{' ', r, '\n'}), string([]rune{r, 0x200b})} {
				require.ErrorIs(t, validate(text), comment.ErrInvisible, "%+q", text)
			}
			assert.NoError(t, validate("a"+string(r)), "beside something that shows it is the writer's")
		})
	}
	for _, r := range []rune{' ', '\t', '\n', '\r', '\v', 0x85, 0xa0, 0x1680, 0x2003, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000} {
		require.ErrorIs(t, validate(string(r)), comment.ErrMissing, "%U", r)
	}
}

func TestWhatShowsSomethingIsAComment(t *testing.T) {
	for name, text := range map[string]string{
		"a letter":                         "a",
		"a full stop":                      ".",
		"an emoji":                         "🎉",
		"a family, joined":                 "👨\u200d👩\u200d👧",
		"a heart with a selector":          "❤\ufe0f",
		"a keycap":                         "1\ufe0f\u20e3",
		"a flag of letters":                "🇩🇪",
		"half a flag":                      "🇩",
		"a flag of tags":                   "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
		"a skin tone":                      "👍🏽",
		"Persian with a non-joiner":        "می\u200cخواهم",
		"right to left with marks":         "\u200fשלום\u200f",
		"Sinhala with a joiner":            "ශ්\u200dරී",
		"a lone combining mark":            "\u0301",
		"an enclosing mark":                "\u20e3",
		"Hangul beside a filler":           "ᄀ\u1160",
		"a Braille pattern":                "⠁",
		"an Arabic number sign":            "\u0600",
		"an Egyptian joiner":               "\U00013430",
		"the replacement character":        "\ufffd",
		"a character of private use":       "\ue000",
		"one that Unicode has not yet":     "\U0001fae9",
		"something visible in a long pile": "\u200b\u200b \u2800\u200bx\u200b",
	} {
		assert.NoError(t, validate(text), name)
	}
}

// The ranges are those of Default_Ignorable_Code_Point in DerivedCoreProperties.txt, which all versions of Unicode since 15
// share: its stability is promised.
func TestIgnorableIsUnicodesDerivedProperty(t *testing.T) {
	ranges := [][2]rune{
		{0xad, 0xad},
		{0x34f, 0x34f},
		{0x61c, 0x61c},
		{0x115f, 0x1160},
		{0x17b4, 0x17b5},
		{0x180b, 0x180f},
		{0x200b, 0x200f},
		{0x202a, 0x202e},
		{0x2060, 0x206f},
		{0x3164, 0x3164},
		{0xfe00, 0xfe0f},
		{0xfeff, 0xfeff},
		{0xffa0, 0xffa0},
		{0xfff0, 0xfff8},
		{0x1bca0, 0x1bca3},
		{0x1d173, 0x1d17a},
		{0xe0000, 0xe0fff},
	}
	ignorable := map[rune]bool{}
	for _, bounds := range ranges {
		for r := bounds[0]; r <= bounds[1]; r++ {
			ignorable[r] = true
		}
	}
	for r := rune(0); r <= 0x10ffff; r++ {
		if comment.Ignorable(r) != ignorable[r] {
			t.Errorf("%U: %v", r, !ignorable[r])
		}
	}
}
