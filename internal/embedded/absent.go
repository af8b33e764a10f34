//go:build noembedded

package embedded

import "errors"

// Server is never made: it was left out.
type Server struct{}

// Start says so.
func Start(int) (*Server, error) {
	return nil, errors.New("this program was built without the embedded Redis (go build -tags noembedded)")
}

// URL is of no use.
func (s *Server) URL() string { return "" }

// Close is of no use.
func (s *Server) Close() {}
