// Package connection says what a URL does not about reaching a server: who logs in, how long
// to wait, TLS, Sentinel, and which server of several is used. Brokers, result backends and
// settings share these types.
package connection

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Options are those of broker_transport_options and result_backend_transport_options that
// concern connections, by the same names, and what only a program can give. The zero value
// is fine for everything but Sentinel.
type Options struct {
	Username, Password string // for a URL that has none
	ClientName         string // CLIENT SETNAME on every connection; "": none

	// Celery has no time limits on broker connections; a worker that waits for ever on a
	// server that hangs is of no use to anybody, so there are defaults.
	SocketConnectTimeout time.Duration // until connected and logged in; 0 or less: 10 s
	SocketTimeout        time.Duration // for a reply; 0: 30 s, negative: none. Blocking commands bring their own.
	HealthCheckInterval  time.Duration // an idle connection is tried after this; 0: 25 s, negative: never

	MasterName        string // of Sentinel: required for sentinel:// URLs
	MinOtherSentinels int    // that a Sentinel must see to be believed
	SentinelUsername  string // sentinel_kwargs: username
	SentinelPassword  string // sentinel_kwargs: password

	// Dial replaces the network; nil dials for real.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// TLS is broker_use_ssl or redis_backend_use_ssl, and the ssl_* parameters of a URL.
type TLS struct {
	CertReqs      string // required, optional or none, or CERT_REQUIRED …; optional means required, as it does for every client. "": as Celery has it
	CACerts       string // file of trusted certificates (PEM); "": the system's
	CAPath        string // directory of such files
	CAData        string // certificates (PEM) themselves
	CertFile      string // our own certificate (PEM)
	KeyFile       string // its key; "": CertFile holds it
	CheckHostname *bool  // whether the certificate must name the server; nil: as CertReqs
	// ServerHostname is whom the certificate must name, for RabbitMQ (server_hostname); "": with
	// RabbitMQ it need not name anybody unless CheckHostname says so.
	ServerHostname string

	// Config, if set, is used as it is, in place of all the above.
	Config *tls.Config
}

// Server is a server that a URL leads to, without any password.
type Server struct {
	Scheme   string   // redis, rediss, redis+socket, sentinel
	Host     string   // a name or address, or the path of a socket; of Sentinel, the first one's
	Port     int      // 0 of a socket
	Username string   // "": none
	DB       int      // number of the database
	VHost    string   // virtual host of RabbitMQ; "": none
	TLS      bool     // the connection is encrypted
	Others   []string // URLs of the others in a failover list

	URL     string   // the whole URL in a normal form
	Ignored []string // names of the URL's query parameters that have no effect
}

// String returns the URL, fit for logs: every password is masked.
func (s Server) String() string { return s.URL }
