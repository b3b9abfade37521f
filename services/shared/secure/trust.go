package secure

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/livecomments/livecomments/services/shared/config"
)

// Trust is a client's side of TLS that knows the authorities in a PEM file beside those of the system; without a file it is nil,
// which is the default. The error names the variable that names the file.
func Trust(variable, file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // nil is the default of net/http
	}
	encoded, err := readFile(variable, file)
	if err != nil {
		return nil, err
	}
	authorities, err := x509.SystemCertPool()
	if err != nil {
		authorities = x509.NewCertPool()
	}
	if !authorities.AppendCertsFromPEM(encoded) {
		return nil, config.Errorf("%s=%s has no certificate in PEM", variable, file)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities}, nil
}
