package secure

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/config"
)

// Config says where a certificate is.
type Config struct {
	CertFile string `env:"TLS_CERT_FILE" help:"PEM file of the certificate, with those of the authorities between it and the root; with TLS_KEY_FILE the port speaks https. Both are read again when they change."`
	KeyFile  string `env:"TLS_KEY_FILE" help:"PEM file of the certificate's private key."`
}

// On reports whether there is to be TLS.
func (c Config) On() bool { return c.CertFile != "" || c.KeyFile != "" }

// lookInterval is how often the files are looked at. They are small; and how a file system tells of a change depends on how the
// files got there: Kubernetes swaps a symbolic link above them.
const lookInterval = time.Second

// Certificate is the newest pair of certificate and key that the files have held and that can be used.
type Certificate struct {
	cfg     Config
	log     *zap.Logger
	current atomic.Pointer[tls.Certificate]
	stale   atomic.Bool // the files hold what cannot be used

	used  [sha256.Size]byte // the files that current is of
	fault string            // why the files could not be used when they were last looked at
}

// Load reads the certificate. Its error names the setting that is wrong.
func Load(cfg Config, log *zap.Logger) (*Certificate, error) {
	switch {
	case cfg.CertFile == "":
		return nil, config.Errorf("TLS_CERT_FILE must be set where TLS_KEY_FILE is")
	case cfg.KeyFile == "":
		return nil, config.Errorf("TLS_KEY_FILE must be set where TLS_CERT_FILE is")
	}
	c := &Certificate{cfg: cfg, log: log}
	certificate, key, err := c.read()
	if err != nil {
		return nil, err
	}
	return c, c.use(certificate, key)
}

// read reads both files.
func (c *Certificate) read() (certificate, key []byte, err error) {
	if certificate, err = readFile("TLS_CERT_FILE", c.cfg.CertFile); err != nil {
		return nil, nil, err
	}
	key, err = readFile("TLS_KEY_FILE", c.cfg.KeyFile)
	return certificate, key, err
}

func readFile(variable, path string) ([]byte, error) {
	content, err := os.ReadFile(path) //nolint:gosec // the operator names it
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = failed.Err // the path is named already
	}
	if err != nil {
		return nil, config.Errorf("%s=%s cannot be read: %s", variable, path, err)
	}
	return content, nil
}

func digest(certificate, key []byte) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%d %s%s", len(certificate), certificate, key))
}

// use takes a pair for all handshakes that begin from now on.
func (c *Certificate) use(certificate, key []byte) error {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return config.Errorf("TLS_CERT_FILE=%s and TLS_KEY_FILE=%s cannot be used: %s", c.cfg.CertFile, c.cfg.KeyFile, err)
	}
	c.current.Store(&pair)
	c.used = digest(certificate, key)
	c.log.Info("certificate", zap.Strings("names", pair.Leaf.DNSNames), zap.Stringers("addresses", pair.Leaf.IPAddresses), zap.Time("expires", pair.Leaf.NotAfter))
	if time.Now().After(pair.Leaf.NotAfter) {
		c.log.Warn("the certificate has expired: clients refuse it", zap.Time("expired", pair.Leaf.NotAfter))
	}
	return nil
}

// Run reads the files again when they have changed, until ctx ends. Where they cannot be used the certificate stays as it is.
func (c *Certificate) Run(ctx context.Context) {
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.look()
		}
	}
}

// look takes what is in the files, if it is new and can be used.
func (c *Certificate) look() {
	certificate, key, err := c.read()
	if err == nil && digest(certificate, key) != c.used {
		err = c.use(certificate, key)
	}
	if err == nil {
		c.fault = ""
		c.stale.Store(false)
		return
	}
	// Files that are written one after the other do not match for a moment.
	if c.fault == err.Error() && !c.stale.Swap(true) {
		c.log.Error("the new certificate cannot be used; the one before stays", zap.Error(err), zap.Time("expires", c.current.Load().Leaf.NotAfter))
	}
	c.fault = err.Error()
}

// Register adds the certificate's figures, which have such a prefix.
func (c *Certificate) Register(registry *prometheus.Registry, prefix string) {
	registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: prefix + "certificate_expires_timestamp_seconds", Help: "When the certificate in use expires, in seconds since 1970.",
		}, func() float64 { return float64(c.current.Load().Leaf.NotAfter.Unix()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: prefix + "certificate_stale", Help: "1 while the files hold what cannot be used, and the certificate before is.",
		}, func() float64 {
			if c.stale.Load() {
				return 1
			}
			return 0
		}),
	)
}
