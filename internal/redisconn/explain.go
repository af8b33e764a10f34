package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/gomodule/redigo/redis"
)

// explanations say what the operator can do about an error of the server.
var explanations = []struct{ code, text string }{
	{"WRONGPASS", "the user name or the password is wrong"},
	{"ERR invalid password", "the password is wrong"},
	{"ERR wrong number of arguments for 'auth'", "before Redis 6 there are no user names: write redis://:password@host"},
	{"ERR AUTH", "a password is given, but the server has none: leave it out of the URL"},
	{"ERR Client sent AUTH", "a password is given, but the server has none: leave it out of the URL"},
	{"NOAUTH", "the server wants a password: write it as redis://:password@host"},
	{"DENIED", "the server is in protected mode and has no password, so it serves its own machine only"},
	{"ERR DB index", "the server has no database of that number: see its setting databases"},
	{"ERR invalid DB index", "the server has no database of that number: see its setting databases"},
	{"READONLY", "this is a replica, which takes no writes: name the master, or use sentinel://"},
	{"OOM", "the server's memory is full: see its settings maxmemory and maxmemory-policy"},
	{"MISCONF", "the server cannot save to disk and so refuses writes: see its log"},
	{"NOREPLICAS", "the server has fewer replicas than its setting min-replicas-to-write demands"},
	{"LOADING", "the server is loading its data and will answer when it has"},
	{"BUSY", "the server is running a long script"},
	{"ERR max number of clients reached", "the server has all the connections its setting maxclients allows"},
	{"MASTERDOWN", "this is a replica that has lost its master"},
	{"CLUSTERDOWN", "the cluster is down"},
	{"CROSSSLOT", "this is a Redis Cluster: give all keys one hash tag, with global_keyprefix; see docs/brokers.md"},
	{"MOVED", "this is a Redis Cluster: give all keys one hash tag, with global_keyprefix, and name the node they are on; see docs/brokers.md"},
}

// Explained adds what Explain says to an error that the server answered to a command.
func Explained(err error, cmd string, args ...any) error {
	return explained(err, question{cmd: cmd, args: args})
}

func explained(err error, asked question) error {
	var server redis.Error
	if errors.As(err, &server) {
		asked.args = spread(asked.args)
		if why := explain(server, asked); why != "" {
			return fmt.Errorf("%w (%s)", err, why)
		}
	}
	return err
}

// Explain returns what is probably wrong, in a phrase for the operator, or "" if
// the error says it all. The message of a *ConnError contains it already.
func Explain(err error) string { return explain(err, question{}) }

func explain(err error, asked question) string {
	if err == nil {
		return ""
	}
	var server redis.Error
	if errors.As(err, &server) {
		if right, forbidden := denied(server, asked); forbidden {
			return "the server's ACL does not allow this user to " + right
		}
		for _, e := range explanations {
			if hasCode(server, []string{e.code}) {
				return e.text
			}
		}
		return ""
	}
	var dns *net.DNSError
	var plain tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no host of that name"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: is Redis running, and are host and port right?"
	case errors.Is(err, syscall.ENOENT):
		return "there is no such socket: is Redis running, and is its setting unixsocket this path?"
	case errors.As(err, &plain):
		return "the server does not speak TLS on this port: use redis:// instead of rediss://"
	case errors.As(err, &cert):
		return "the server's certificate is not trusted: see ssl_ca_certs and ssl_cert_reqs"
	case errors.Is(err, errNotMaster):
		return "a failover may be under way"
	case errors.Is(err, errHandshakeTimeout):
		return "the server did not answer in time; it may not speak TLS on this port (redis:// instead of rediss://)"
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return "the server did not answer in time"
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return "the server closed the connection; if it always does, it may want TLS (rediss://), or a proxy is in between"
	}
	return ""
}

func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
