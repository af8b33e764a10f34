package redisconn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/gomodule/redigo/redis"
)

// ErrClosed is returned by every method of a Pipeline after Close.
var ErrClosed = errors.New("redis: connection closed by us")

var (
	errNotMaster = errors.New("the server is not the master")
	errReplaced  = errors.New("there is another master")
)

// ConnError is a failure of the connection, not of a command. Whether a command
// that was in flight has run is unknown.
type ConnError struct {
	Op   string // "connect": no command was sent; "use": those in flight may have run or not
	Addr string // the server, passwords masked
	Err  error
}

func (e *ConnError) Error() string {
	text := fmt.Sprintf("redis: %s %s: %v", e.Op, e.Addr, e.Err)
	if why := Explain(e.Err); why != "" {
		text += " (" + why + ")"
	}
	return text
}

func (e *ConnError) Unwrap() error { return e.Err }

// retryable lists the error codes of a server that cannot do it now, and may be
// able to later or after a failover.
var retryable = []string{
	"LOADING", "READONLY", "OOM", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS", "UNBLOCKED",
	"ERR max number of clients reached",
}

// config lists the error codes that only a change of configuration mends.
var config = []string{
	"WRONGPASS", "NOAUTH", "DENIED",
	"ERR invalid password", "ERR wrong number of arguments for 'auth'", "ERR AUTH", "ERR Client sent AUTH", "ERR DB index", "ERR invalid DB index",
}

// IsRetryable tells whether the same command may succeed later: the connection
// failed, or the server said that it cannot serve it now.
func IsRetryable(err error) bool {
	if err == nil || errors.Is(err, ErrClosed) || IsConfig(err) {
		return false
	}
	var server redis.Error
	if errors.As(err, &server) {
		return hasCode(server, retryable)
	}
	var conn *ConnError
	var network net.Error
	return errors.As(err, &conn) || errors.As(err, &network) || errors.Is(err, io.EOF)
}

// IsConfig tells whether the configuration is wrong: password, rights, database, TLS.
func IsConfig(err error) bool {
	var server redis.Error
	if errors.As(err, &server) {
		_, forbidden := denied(server, question{})
		return forbidden || hasCode(server, config)
	}
	var record tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	return errors.As(err, &record) || errors.As(err, &cert)
}

// IsRefused tells whether the server refused the command, and would at every try.
func IsRefused(err error) bool {
	var server redis.Error
	return errors.As(err, &server) && !IsRetryable(err) && !IsConfig(err)
}

func hasCode(err redis.Error, codes []string) bool {
	text := string(err)
	// Before Redis 7 the error of a command in a script stands at the end of another:
	// ERR Error running script (…): @user_script:1: @user_script: 1: -OOM command not allowed …
	if strings.HasPrefix(text, "ERR Error running script") {
		if i := strings.LastIndex(text, ": -"); i >= 0 {
			text = text[i+len(": -"):]
		}
	}
	for _, code := range codes {
		if rest, ok := strings.CutPrefix(text, code); ok && (rest == "" || !isLetter(rest[0])) {
			return true
		}
	}
	return false
}

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

func isReadOnly(err error) bool {
	var server redis.Error
	return errors.As(err, &server) && hasCode(server, []string{"READONLY"})
}
