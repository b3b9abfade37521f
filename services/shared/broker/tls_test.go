package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/port"
)

// authority signs certificates. Its own and those that it signed are files in a folder of its own.
type authority struct {
	folder string
	root   *x509.Certificate
	key    *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{folder: t.TempDir()}
	a.root = &x509.Certificate{Subject: pkix.Name{CommonName: "authority in " + a.folder}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.sign(t, "ca", a.root)
	return a
}

func (a *authority) file(name string) string { return filepath.Join(a.folder, name) }

// sign writes a certificate and its key to name.crt and name.key.
func (a *authority) sign(t *testing.T, name string, template *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	if a.key == nil {
		a.key = key
	}
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	certificate, err := x509.CreateCertificate(rand.Reader, template, a.root, &key.PublicKey, a.key)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for kind, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: certificate}, ".key": {Type: "PRIVATE KEY", Bytes: encoded}} {
		require.NoError(t, os.WriteFile(a.file(name+kind), pem.EncodeToMemory(block), 0o600))
	}
}

// redis starts a redis-server whose certificate the authority has signed, and which asks for one that it has signed too.
// The result are the settings to use it with.
func (a *authority) redis(t *testing.T) broker.Config {
	t.Helper()
	a.sign(t, "redis", &x509.Certificate{Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	a.sign(t, "client", &x509.Certificate{Subject: pkix.Name{CommonName: "client"}})
	reserved, err := port.Reserve()
	require.NoError(t, err)
	t.Cleanup(reserved.Release)
	brokertest.Real(t, "--tls-port", strconv.Itoa(reserved.Number), "--tls-auth-clients", "yes",
		"--tls-ca-cert-file", a.file("ca.crt"), "--tls-cert-file", a.file("redis.crt"), "--tls-key-file", a.file("redis.key"))
	return broker.Config{
		RedisURL: "rediss://" + reserved.Address(), HistoryLength: 100, HistoryTTL: time.Hour,
		RedisCAFile: a.file("ca.crt"), RedisCertFile: a.file("client.crt"), RedisKeyFile: a.file("client.key"),
	}
}

func openWith(t *testing.T, cfg broker.Config) *broker.Broker {
	t.Helper()
	b, err := broker.Open(cfg, zaptest.NewLogger(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func TestCommentsPassThroughARedisThatAsksForACertificate(t *testing.T) {
	b := openWith(t, newAuthority(t).redis(t))
	for _, use := range []broker.Use{broker.Publishing, broker.Reading, broker.Placing} {
		require.NoError(t, b.Await(t.Context(), use, nil))
	}
	subscription, ear := listen(t, b)
	subscription.Add("v")
	require.Eventually(t, func() bool { return ear.times("v") == 1 }, 5*time.Second, time.Millisecond)
	id := post(t, b, "v", "x")
	require.Eventually(t, func() bool { return len(ear.ids()) == 1 }, 5*time.Second, time.Millisecond)
	assert.Equal(t, []comment.ID{id}, ear.ids())
	topics, _, err := b.Topics(t.Context(), 10)
	require.NoError(t, err)
	assert.Equal(t, 1, topics)
}

func TestRedisIsNotTrustedUnderAnotherAuthorityNorAreWeWithoutACertificate(t *testing.T) {
	own, other := newAuthority(t), newAuthority(t)
	right := own.redis(t)
	other.redis(t)
	for name, test := range map[string]struct {
		change func(*broker.Config)
		reason string
	}{
		"the public authorities": {
			func(c *broker.Config) { c.RedisCAFile = "" }, "x509: certificate signed by unknown authority",
		},
		"another authority": {
			func(c *broker.Config) { c.RedisCAFile = other.file("ca.crt") }, "x509: certificate signed by unknown authority",
		},
		"another host": {
			func(c *broker.Config) { c.RedisURL = strings.Replace(c.RedisURL, "127.0.0.1", "localhost", 1) }, "x509: certificate is not valid for any names, but wanted to match localhost",
		},
		"no client certificate": {
			func(c *broker.Config) { c.RedisCertFile, c.RedisKeyFile = "", "" }, "tls: certificate required",
		},
		"a client certificate of another authority": {
			func(c *broker.Config) {
				c.RedisCertFile, c.RedisKeyFile = other.file("client.crt"), other.file("client.key")
			}, "tls: unknown certificate authority",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := right
			test.change(&cfg)
			_, err := openWith(t, cfg).Publish(t.Context(), comment.Comment{UserID: "u", VideoID: "v", Text: "x"})
			require.ErrorIs(t, err, broker.ErrUnavailable)
			assert.ErrorContains(t, err, test.reason)
		})
	}
}

func TestRenewedCertificatesAreUsedWithoutARestart(t *testing.T) {
	for _, renewed := range [][]string{{"ca.crt"}, {"client.crt", "client.key"}} {
		t.Run(renewed[0], func(t *testing.T) {
			own, old := newAuthority(t), newAuthority(t)
			cfg := own.redis(t)
			old.sign(t, "client", &x509.Certificate{Subject: pkix.Name{CommonName: "client"}})
			fresh := map[string][]byte{}
			for _, name := range renewed {
				var err error
				fresh[name], err = os.ReadFile(own.file(name))
				require.NoError(t, err)
				expired, err := os.ReadFile(old.file(name))
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(own.file(name), expired, 0o600))
			}
			b := openWith(t, cfg)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			refused, done := make(chan struct{}, 1000), make(chan error, 1)
			go func() { done <- b.Await(ctx, broker.Placing, func(string) { refused <- struct{}{} }) }()
			select {
			case <-refused:
			case err := <-done:
				require.FailNow(t, "the old one is accepted", "%v", err)
			}
			for name, content := range fresh {
				require.NoError(t, os.WriteFile(own.file(name), content, 0o600))
			}
			require.NoError(t, <-done)
		})
	}
}

func TestABadCertificateStopsTheStartAndNamesItsVariable(t *testing.T) {
	own, other := newAuthority(t), newAuthority(t)
	for _, a := range []*authority{own, other} {
		a.sign(t, "client", &x509.Certificate{Subject: pkix.Name{CommonName: "client"}})
	}
	ca, certificate, key, missing, text := own.file("ca.crt"), own.file("client.crt"), own.file("client.key"), own.file("missing"), own.file("text")
	require.NoError(t, os.WriteFile(text, []byte("no certificate"), 0o600))
	const secure = "rediss://redis:6379"
	for reason, cfg := range map[string]broker.Config{
		"REDIS_CA_FILE is set, but REDIS_URL does not begin with rediss://":                      {RedisHost: "redis", RedisCAFile: ca},
		"REDIS_CERT_FILE is set, but REDIS_URL does not begin with rediss://":                    {RedisURL: "redis://redis", RedisCertFile: certificate, RedisKeyFile: key},
		"REDIS_KEY_FILE is set, but REDIS_URL does not begin with rediss://":                     {RedisURL: "redis://redis", RedisKeyFile: key},
		"REDIS_CA_FILE is set, but with skip_verify in REDIS_URL no certificate is checked":      {RedisURL: secure + "?skip_verify=true", RedisCAFile: ca},
		"REDIS_CA_FILE: open " + missing + ": no such file or directory":                         {RedisURL: secure, RedisCAFile: missing},
		"REDIS_CA_FILE: there is no certificate in PEM in " + text:                               {RedisURL: secure, RedisCAFile: text},
		"REDIS_CA_FILE: there is no certificate in PEM in " + key:                                {RedisURL: secure, RedisCAFile: key},
		"REDIS_CERT_FILE is set, but REDIS_KEY_FILE is not":                                      {RedisURL: secure, RedisCertFile: certificate},
		"REDIS_KEY_FILE is set, but REDIS_CERT_FILE is not":                                      {RedisURL: secure, RedisKeyFile: key},
		"REDIS_CERT_FILE: open " + missing + ": no such file or directory":                       {RedisURL: secure, RedisCertFile: missing, RedisKeyFile: key},
		"REDIS_KEY_FILE: open " + missing + ": no such file or directory":                        {RedisURL: secure, RedisCertFile: certificate, RedisKeyFile: missing},
		"REDIS_CERT_FILE and REDIS_KEY_FILE are no certificate and its key: tls: private key do": {RedisURL: secure, RedisCertFile: certificate, RedisKeyFile: other.file("client.key")},
		"REDIS_CERT_FILE and REDIS_KEY_FILE are no certificate and its key: tls: failed to find": {RedisURL: secure, RedisCertFile: text, RedisKeyFile: key},
	} {
		_, err := broker.Open(cfg, zaptest.NewLogger(t))
		require.ErrorContains(t, err, reason)
		assert.NotContains(t, err.Error(), "\n")
	}
}
