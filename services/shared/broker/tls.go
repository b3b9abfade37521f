package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/livecomments/livecomments/services/shared/config"
)

// tlsConfig is base with the authority and the client certificate of the settings, as their files are now. base is nil for a
// Redis without TLS, and then so is the result. The error names the setting that is wrong.
func (c Config) tlsConfig(base *tls.Config) (*tls.Config, error) {
	for _, file := range []struct{ variable, path string }{
		{"REDIS_CA_FILE", c.RedisCAFile}, {"REDIS_CERT_FILE", c.RedisCertFile}, {"REDIS_KEY_FILE", c.RedisKeyFile},
	} {
		if file.path != "" && base == nil {
			return nil, config.Errorf("%s is set, but REDIS_URL does not begin with rediss://", file.variable)
		}
	}
	if base == nil {
		return nil, nil
	}
	complete := base.Clone()
	if c.RedisCAFile != "" {
		if base.InsecureSkipVerify {
			return nil, config.Errorf("REDIS_CA_FILE is set, but with skip_verify in REDIS_URL no certificate is checked")
		}
		authorities, err := os.ReadFile(c.RedisCAFile)
		if err != nil {
			return nil, config.Errorf("REDIS_CA_FILE: %s", err)
		}
		complete.RootCAs = x509.NewCertPool()
		if !complete.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, config.Errorf("REDIS_CA_FILE: there is no certificate in PEM in %s", c.RedisCAFile)
		}
	}
	own, err := c.clientCertificate()
	if err != nil {
		return nil, err
	}
	if own != nil {
		// Not as one of Certificates, which is kept back where Redis names other authorities than its own: a refusal tells more.
		complete.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	return complete, nil
}

// clientCertificate is nil where none is set.
func (c Config) clientCertificate() (*tls.Certificate, error) {
	switch {
	case c.RedisCertFile == "" && c.RedisKeyFile == "":
		return nil, nil
	case c.RedisKeyFile == "":
		return nil, config.Errorf("REDIS_CERT_FILE is set, but REDIS_KEY_FILE is not")
	case c.RedisCertFile == "":
		return nil, config.Errorf("REDIS_KEY_FILE is set, but REDIS_CERT_FILE is not")
	}
	certificate, err := os.ReadFile(c.RedisCertFile)
	if err != nil {
		return nil, config.Errorf("REDIS_CERT_FILE: %s", err)
	}
	key, err := os.ReadFile(c.RedisKeyFile)
	if err != nil {
		return nil, config.Errorf("REDIS_KEY_FILE: %s", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, config.Errorf("REDIS_CERT_FILE and REDIS_KEY_FILE are no certificate and its key: %s", err)
	}
	return &pair, nil
}

// secure is the TLS connection over connection, which it closes where there can be none.
func (c Config) secure(ctx context.Context, connection net.Conn, base *tls.Config) (net.Conn, error) {
	// The files are read for each connection, so that renewed certificates need no restart.
	cfg, err := c.tlsConfig(base)
	if err != nil {
		_ = connection.Close()
		return nil, err
	}
	secured := tls.Client(connection, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = connection.Close()
		return nil, err
	}
	return &candid{Conn: secured}, nil
}

// candid is a connection that says why Redis refuses it. With TLS 1.3 Redis looks at the client's certificate when the client
// has done with the handshake. Its alert then comes with a reset, and where the reset is seen first, the first write fails for it.
type candid struct {
	*tls.Conn
	answered atomic.Bool
}

func (c *candid) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && !c.answered.Load() {
		c.answered.Store(true)
	}
	return n, err
}

func (c *candid) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil || c.answered.Load() {
		return n, err
	}
	// Nobody else reads before the first answer, and the connection is lost in any case.
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, refusal := c.Conn.Read(make([]byte, 1))
	if alert := (*net.OpError)(nil); errors.As(refusal, &alert) && alert.Op == "remote error" {
		return n, refusal
	}
	return n, err
}
