package secure_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/secure"
	"github.com/livecomments/livecomments/services/shared/secure/authority"
)

func TestAFileWithoutAnAuthorityIsNamedWithItsVariable(t *testing.T) {
	issuer, err := authority.New()
	require.NoError(t, err)
	cert, key := filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	require.NoError(t, issuer.IssueFiles(cert, key))
	_, err = secure.Trust("READER_CA_FILE", key)
	require.EqualError(t, err, "READER_CA_FILE="+key+" has no certificate in PEM")
	_, err = secure.Trust("READER_CA_FILE", "/nowhere")
	require.EqualError(t, err, "READER_CA_FILE=/nowhere cannot be read: no such file or directory")
	trust, err := secure.Trust("READER_CA_FILE", "")
	require.NoError(t, err)
	assert.Nil(t, trust)
}
