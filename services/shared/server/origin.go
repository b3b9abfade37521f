package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-contrib/cors"
	"github.com/gin-gonic/gin"
	"golang.org/x/net/idna"

	"github.com/livecomments/livecomments/services/shared/config"
)

// VouchForOrigin sets what tells the origin of a request whose browser does not: after a redirect from one origin to another
// it sends the origin "null" (https://fetch.spec.whatwg.org/#concept-http-redirect-fetch). vouch returns "" where it does not
// know either. Such a request is let in where CORS_ORIGINS lets in what vouch returns.
func (s *Server) VouchForOrigin(vouch func(*gin.Context) (origin string)) { s.vouch = vouch }

// allowOrigins lets the pages of the configured origins call this service.
func (s *Server) allowOrigins() (gin.HandlerFunc, error) {
	cfg := s.cfg
	origins, err := parseOrigins(cfg.CORSOrigins)
	if err != nil {
		return nil, err
	}
	allowed := cors.DefaultConfig()
	allowed.AllowOrigins = origins
	if !slices.Contains(origins, "*") {
		allowed.AllowOriginWithContextFunc = func(c *gin.Context, origin string) bool {
			return origin == "null" && s.vouch != nil && slices.Contains(origins, s.vouch(c))
		}
	}
	allowed.AllowMethods = []string{http.MethodGet, http.MethodPost}
	allowed.AllowHeaders = []string{"Content-Type", "Last-Event-ID", "Cache-Control", "Idempotency-Key"}
	allowed.ExposeHeaders = []string{"Retry-After"}
	if cfg.CORSCredentials {
		if slices.Contains(origins, "*") {
			return nil, config.Errorf("CORS_CREDENTIALS=true needs CORS_ORIGINS to name the origins: browsers send no credentials where it is *")
		}
		allowed.AllowCredentials = true
		allowed.AllowHeaders = append(allowed.AllowHeaders, "Authorization")
	}
	return cors.New(allowed), nil
}

// parseOrigins brings origins into the form in which browsers send them, because they are compared as text. The error
// names one that no browser sends.
func parseOrigins(given []string) ([]string, error) {
	var origins []string
	for _, text := range given {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		origin, err := parseOrigin(text)
		if err != nil {
			return nil, config.Errorf("CORS_ORIGINS: %s", err)
		}
		if !slices.Contains(origins, origin) {
			origins = append(origins, origin)
		}
	}
	switch {
	case len(origins) == 0:
		return nil, config.Errorf("CORS_ORIGINS must name at least one origin, or be * for all")
	case len(origins) > 1 && slices.Contains(origins, "*"):
		return nil, config.Errorf(`CORS_ORIGINS: "*" allows all origins and must stand alone`)
	}
	return origins, nil
}

// parseOrigin returns the serialization of an origin by the HTML standard
// (https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin): in lower case, without the
// scheme's usual port, the host in ASCII.
func parseOrigin(text string) (string, error) {
	switch text {
	case "*":
		return text, nil
	case "null":
		return "", fmt.Errorf("%q is the origin of every sandboxed page and local file, and cannot be allowed", text)
	}
	u, err := url.Parse(text)
	if scheme, _, found := strings.Cut(strings.ToLower(text), "://"); !found || scheme != "http" && scheme != "https" {
		return "", fmt.Errorf("%q must begin with http:// or https://", text)
	}
	switch {
	case err != nil:
		return "", fmt.Errorf("%q has no host that a browser knows", text)
	case u.User != nil:
		return "", fmt.Errorf("%q must have no user and no password", u.Redacted())
	case strings.Contains(u.Host, "*"):
		return "", fmt.Errorf("%q matches no origin: * allows all, and cannot be a part of one", text)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return "", fmt.Errorf("%q must have nothing after its host and port", text)
	}
	host, ok := originHost(u.Hostname())
	if !ok {
		return "", fmt.Errorf("%q has no host that a browser knows", text)
	}
	if u.Port() == "" {
		return u.Scheme + "://" + host, nil
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case err != nil || port == 0:
		return "", fmt.Errorf("%q must have a port from 1 to 65535", text)
	case u.Scheme == "http" && port == 80, u.Scheme == "https" && port == 443:
		return u.Scheme + "://" + host, nil
	}
	return u.Scheme + "://" + host + ":" + strconv.FormatUint(port, 10), nil
}

var (
	// browserIDNA is what browsers do to a host name by https://url.spec.whatwg.org/#concept-domain-to-ascii.
	browserIDNA = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false), idna.CheckHyphens(false))

	hostName = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?$`)
	// A name with such an end is an IPv4 address to a browser.
	numericEnd = regexp.MustCompile(`(^|\.)([0-9]+|0x[0-9a-f]*)\.?$`)
)

// originHost brings a host into the form that it has in an origin.
func originHost(host string) (ascii string, ok bool) {
	if address, err := netip.ParseAddr(host); err == nil {
		switch {
		case address.Is4():
			return address.String(), true
		case address.Zone() != "":
			return "", false
		case address.Is4In6():
			b := address.As16()
			return fmt.Sprintf("[::ffff:%x:%x]", uint16(b[12])<<8|uint16(b[13]), uint16(b[14])<<8|uint16(b[15])), true
		}
		return "[" + address.String() + "]", true
	}
	ascii, err := browserIDNA.ToASCII(host)
	return ascii, err == nil && hostName.MatchString(ascii) && !numericEnd.MatchString(ascii)
}
