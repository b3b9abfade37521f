package authority

import (
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Mount is a folder with a certificate and its key, as Kubernetes mounts a Secret: the files are links below a link that is
// swapped.
type Mount struct {
	CertFile, KeyFile string

	issuer *Authority
	dir    string
	puts   int
}

// NewMount makes a mount of an empty folder, with a certificate that holds for an hour.
func NewMount(issuer *Authority, dir string) (*Mount, error) {
	m := &Mount{CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"), issuer: issuer, dir: dir}
	if err := m.Issue(time.Now().Add(time.Hour)); err != nil {
		return nil, err
	}
	if err := os.Symlink("..data/tls.crt", m.CertFile); err != nil {
		return nil, err
	}
	return m, os.Symlink("..data/tls.key", m.KeyFile)
}

// Issue puts a new certificate in place of what is there.
func (m *Mount) Issue(expires time.Time) error {
	certificate, key, err := m.issuer.Issue(expires)
	if err != nil {
		return err
	}
	return m.Put(certificate, key)
}

// Put puts the content of both files in place of what is there.
func (m *Mount) Put(certificate, key []byte) error {
	m.puts++
	name := ".." + strconv.Itoa(m.puts)
	folder, next := filepath.Join(m.dir, name), filepath.Join(m.dir, "..data_tmp")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "tls.crt"), certificate, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "tls.key"), key, 0o600); err != nil {
		return err
	}
	if err := os.Symlink(name, next); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(m.dir, "..data"))
}
