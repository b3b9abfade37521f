package fleet

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/livecomments/livecomments/services/shared/config"
)

// Address is the base URL at which viewers reach this reader: what ADVERTISE_URL says, or where it says nothing, that of the
// listener, which may be secured by TLS. The error names the setting.
func Address(advertised string, listener net.Addr, secured bool) (string, error) {
	if advertised == "" && secured {
		return "https://" + ofListener(listener), nil
	}
	if advertised == "" {
		return "http://" + ofListener(listener), nil
	}
	refuse := func(why string) (string, error) {
		return "", config.Errorf("ADVERTISE_URL=%s must be the http:// or https:// URL at which viewers reach this reader: %s", advertised, why)
	}
	u, err := url.Parse(advertised)
	switch {
	case err != nil:
		return refuse("it is no URL")
	case u.User != nil:
		return "", config.Errorf("ADVERTISE_URL must have no user and no password")
	case u.Scheme != "http" && u.Scheme != "https":
		return refuse("it must begin with http:// or https://")
	case u.Scheme == "http" && secured:
		return refuse("with TLS_CERT_FILE it must begin with https://")
	case u.Hostname() == "" || strings.ContainsAny(advertised, " $") || strings.HasSuffix(u.Host, ":"):
		return refuse("it has no host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(advertised, "#"):
		return refuse("it must have no query and no fragment")
	}
	if port := u.Port(); port != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return refuse("its port must be from 1 to 65535")
		}
	}
	if address, err := netip.ParseAddr(u.Hostname()); err == nil && address.IsUnspecified() {
		return refuse("nobody can connect to that host")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// ofListener is host and port of a listener. One that listens on all addresses is reached at the first that is not of this machine
// alone, as that of a pod is, or where there is none, at localhost.
func ofListener(listener net.Addr) string {
	host, port, err := net.SplitHostPort(listener.String())
	if err != nil {
		return listener.String()
	}
	if address, err := netip.ParseAddr(host); err == nil && address.IsUnspecified() {
		host = ownAddress()
	}
	return net.JoinHostPort(host, port)
}

func ownAddress() string {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "localhost"
	}
	var ipv6 string
	for _, address := range addresses {
		network, ok := address.(*net.IPNet)
		if !ok || !network.IP.IsGlobalUnicast() {
			continue
		}
		if network.IP.To4() != nil {
			return network.IP.String()
		}
		if ipv6 == "" {
			ipv6 = network.IP.String()
		}
	}
	if ipv6 == "" {
		return "localhost"
	}
	return ipv6
}
