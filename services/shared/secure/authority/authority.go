// Package authority issues certificates for measurements and tests.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"time"
)

// Authority is a certificate authority that lives as long as the process.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// New makes an authority.
func New() (*Authority, error) {
	a := &Authority{}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "livecomments test authority"}, NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	encoded, key, err := a.sign(template)
	if err != nil {
		return nil, err
	}
	a.key = key
	a.certificate, err = x509.ParseCertificate(encoded)
	return a, err
}

// sign makes a key, and a certificate of it; where there is no authority yet it signs itself.
func (a *Authority) sign(template *x509.Certificate) (encoded []byte, key *ecdsa.PrivateKey, err error) {
	if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	parent, by := template, key
	if a.certificate != nil {
		parent, by = a.certificate, a.key
	}
	encoded, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	return encoded, key, err
}

// Pool is the authority as clients know it.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte { return block("CERTIFICATE", a.certificate.Raw) }

// Fingerprint is the SHA-256 of the authority's public key in base64, by which a browser can be told to trust it.
func (a *Authority) Fingerprint() string {
	digest := sha256.Sum256(a.certificate.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(digest[:])
}

// Issue makes a certificate for 127.0.0.1 and localhost, followed by that of the authority, and its key, in PEM.
func (a *Authority) Issue(expires time.Time) (certificate, key []byte, err error) {
	encoded, private, err := a.sign(&x509.Certificate{
		NotAfter: expires, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return nil, nil, err
	}
	encodedKey, err := x509.MarshalPKCS8PrivateKey(private)
	return append(block("CERTIFICATE", encoded), a.PEM()...), block("PRIVATE KEY", encodedKey), err
}

// IssueFiles writes a certificate that holds for a day, and its key, to files.
func (a *Authority) IssueFiles(certFile, keyFile string) error {
	certificate, key, err := a.Issue(time.Now().Add(24 * time.Hour))
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, certificate, 0o600); err != nil {
		return err
	}
	return os.WriteFile(keyFile, key, 0o600)
}

func block(kind string, encoded []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: encoded})
}
