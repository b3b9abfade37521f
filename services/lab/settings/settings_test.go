package settings_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/lab/settings"
)

func TestTheDocumentationListsTheSettingsAsTheyAre(t *testing.T) {
	tables, err := settings.Tables()
	require.NoError(t, err)
	for _, name := range []string{"PORT", "INSTANCE_ID", "REDIS_URL", "REDIS_HOST", "STATISTICS_API_URL", "COMMENT_API_URL", "READER_API_URLS"} {
		assert.Contains(t, string(tables), "| `"+name+"` |")
	}
	page, err := os.ReadFile("../../../docs/configuration.md")
	require.NoError(t, err)
	assert.True(t, strings.Contains(string(page), string(tables)), "`make settings` brings docs/configuration.md up to date") //nolint:testifylint // the whole file would be printed
}

func TestOnlyWhatStandsBetweenTheMarksIsReplaced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(file, []byte("before\n<!-- settings -->\nold\n<!-- /settings -->\nafter\n"), 0o600))
	require.NoError(t, (&settings.Command{Write: file}).Run())
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	tables, err := settings.Tables()
	require.NoError(t, err)
	assert.Equal(t, "before\n<!-- settings -->\n"+string(tables)+"<!-- /settings -->\nafter\n", string(page))

	require.NoError(t, os.WriteFile(file, []byte("no marks"), 0o600))
	require.ErrorContains(t, (&settings.Command{Write: file}).Run(), "there are no lines")
}
