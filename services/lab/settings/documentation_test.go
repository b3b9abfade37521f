package settings_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const repository = "../../.."

func TestTheREADMEIsShortEnoughToRead(t *testing.T) {
	lines := strings.Split(read(t, repository, "README.md"), "\n")
	assert.LessOrEqual(t, len(lines), 170)
	for i, line := range lines {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 120, "line %d", i+1)
	}
}

func TestEveryLinkInTheDocumentationLeadsSomewhere(t *testing.T) {
	pages := 0
	require.NoError(t, filepath.WalkDir(repository, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{"bin", ".git", "node_modules"}, entry.Name()) {
			return filepath.SkipDir
		}
		page, err := filepath.Rel(repository, path)
		if err != nil || entry.IsDir() {
			return err
		}
		switch filepath.Ext(path) {
		case ".md", ".gotmpl", ".yaml", ".json": // alerts and the dashboard link to their pages
			pages++
			assert.Empty(t, brokenLinks(t, repository, filepath.ToSlash(page)), page)
		}
		return nil
	}))
	assert.Greater(t, pages, 20)
}

func TestABrokenLinkIsFound(t *testing.T) {
	root := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), []byte(text), 0o600))
	}
	write("docs/other.md", "# Other\n\n## What `it` does, and how\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n")
	write("code.go", "")
	for link, broken := range map[string]bool{
		"[x](other.md)":                              false,
		"[x](../code.go)":                            false,
		"[x](../docs)":                               false,
		"[x](other.md#what-it-does-and-how)":         false,
		"[x](other.md#twice-1)":                      false,
		"[x](#page)":                                 false,
		"[x](https://example.org/gone)":              false,
		"`[x](gone.md)`":                             false,
		"```\n[x](gone.md)\n```":                     false,
		"    [x](gone.md)":                           false,
		"[x](gone.md)":                               true,
		"![x](gone.svg)":                             true,
		"[x](../../code.go)":                         true,
		"[x](other.md#twice-2)":                      true,
		"[x](other.md#no-heading)":                   true,
		"[x](other.md#What-it-does-and-how)":         true,
		"[x](#other)":                                true,
		"[x](../code.go#other)":                      true,
		"see " + ours + "blob/main/docs/other.md":    false,
		"see " + ours + "blob/main/docs/gone.md":     true,
		"url: " + ours + "blob/main/docs/other.md#x": true,
	} {
		write("docs/page.md", "# Page\n\n"+link+"\n")
		assert.Equal(t, broken, len(brokenLinks(t, root, "docs/page.md")) > 0, link)
	}
}

// ours is the address of this repository.
const ours = "https://github.com/livecomments/livecomments/"

var (
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	absolute = regexp.MustCompile(regexp.QuoteMeta(ours) + `(?:blob|tree)/main/([^\s)"'>]+)`)
	code     = regexp.MustCompile("(?ms)^```.*?^```$|^    [^\n]*$|`[^`\n]+`")
	heading  = regexp.MustCompile(`(?m)^#+ +(.+?)\s*$`)
)

// brokenLinks are the links of a page to files or headings that are not in the repository: relative ones in Markdown, and
// those to this repository's own address anywhere.
func brokenLinks(t *testing.T, root, page string) (broken []string) {
	t.Helper()
	text := read(t, root, page)
	var targets []string
	if extension := filepath.Ext(page); extension == ".md" {
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(text, ""), -1) {
			if !strings.Contains(match[1], ":") {
				path, fragment, _ := strings.Cut(match[1], "#")
				if path == "" {
					path = filepath.Base(page)
				}
				targets = append(targets, filepath.Join(filepath.Dir(page), path)+"#"+fragment)
			}
		}
	}
	for _, match := range absolute.FindAllStringSubmatch(text, -1) {
		targets = append(targets, match[1])
	}
	for _, target := range targets {
		path, fragment, _ := strings.Cut(target, "#")
		if !filepath.IsLocal(path) {
			broken = append(broken, target)
			continue
		}
		if _, err := os.Stat(filepath.Join(root, path)); err != nil {
			broken = append(broken, target)
		} else if fragment != "" && !anchors(t, root, path)[fragment] {
			broken = append(broken, target)
		}
	}
	return broken
}

var fenced = regexp.MustCompile("(?ms)^```.*?^```$")

// anchors are the fragments that GitHub gives the headings of a page.
func anchors(t *testing.T, root, page string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	if filepath.Ext(page) != ".md" {
		return all
	}
	for _, match := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, root, page), ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
				return unicode.ToLower(r)
			}
			return -1
		}, match[1])
		for n, first := 1, name; all[name]; n++ {
			name = first + "-" + string(rune('0'+n))
		}
		all[name] = true
	}
	return all
}

func read(t *testing.T, root, page string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	require.NoError(t, err)
	return string(text)
}
