package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/livecomments/livecomments/services/shared/secure"
)

// address is where a server listens, and what it serves there.
type address struct {
	variable string // the setting of port
	port     int
	listener net.Listener // in place of the port, where it is not nil
	engine   *gin.Engine
}

// ListenAlso gives the service another port, for callers that the first is not for. It serves the routes that are
// registered on the returned engine, and /livez and /readyz. It has the limits of the first port, and drains and stops
// with it. The setting named variable is that of port; a listener that is not nil replaces it.
func (s *Server) ListenAlso(variable string, port int, listener net.Listener) *gin.Engine {
	engine := gin.New()
	s.equip(engine)
	s.others = append(s.others, address{variable, port, listener, engine})
	return engine
}

// equip gives an engine what all have: the log, metrics and answers of this package, middleware, and the probes.
func (s *Server) equip(engine *gin.Engine, middleware ...gin.HandlerFunc) {
	engine.HandleMethodNotAllowed = true
	engine.Use(s.observed, gin.CustomRecoveryWithWriter(nil, s.recover))
	engine.Use(middleware...)
	engine.Use(s.connections.limit, s.limitBody)
	engine.NoRoute(func(c *gin.Context) { Fail(c, http.StatusNotFound, "there is no %s here", c.Request.URL.Path) })
	engine.NoMethod(func(c *gin.Context) {
		Fail(c, http.StatusMethodNotAllowed, "%s does not take %s", c.Request.URL.Path, c.Request.Method)
	})
	get(engine, "/livez", func(c *gin.Context) { JSON(c, http.StatusOK, gin.H{"status": "ok"}) })
	get(engine, "/readyz", s.readyz)
}

func get(engine *gin.Engine, path string, handler gin.HandlerFunc) {
	engine.Match([]string{http.MethodGet, http.MethodHead}, path, handler)
}

// listen opens every port.
func (s *Server) listen() (map[net.Listener]*gin.Engine, error) {
	open := map[net.Listener]*gin.Engine{}
	for i, at := range append([]address{{"PORT", s.port, s.cfg.Listener, s.Engine}}, s.others...) {
		listener, err := at.listen()
		if err != nil {
			for listener := range open {
				_ = listener.Close()
			}
			return nil, err
		}
		listener = patientListener{listener, s.connections}
		if i == 0 && s.secured != nil {
			listener = secure.Listen(listener, s.secured)
		}
		open[listener] = at.engine
	}
	return open, nil
}

func (a *address) listen() (net.Listener, error) {
	if a.listener != nil {
		return a.listener, nil
	}
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(a.port))
	if err != nil {
		return nil, fmt.Errorf("%s=%d cannot be opened: %w", a.variable, a.port, err)
	}
	return listener, nil
}

// engineKey is that of the engine of a request's listener in the request's context.
type engineKey struct{}

// byListener hands each request to the engine of the listener that it came through.
func byListener(w http.ResponseWriter, r *http.Request) {
	r.Context().Value(engineKey{}).(*gin.Engine).ServeHTTP(w, r)
}

// contexts is the http.Server.BaseContext that byListener needs.
func contexts(engines map[net.Listener]*gin.Engine) func(net.Listener) context.Context {
	return func(listener net.Listener) context.Context {
		return context.WithValue(context.Background(), engineKey{}, engines[listener])
	}
}
