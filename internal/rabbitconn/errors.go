package rabbitconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Describe is an error in the server's words, and with what an operator can do about it.
func Describe(err error) string {
	text := err.Error()
	var server *amqp.Error
	if errors.As(err, &server) {
		plain := server.Reason
		if server.Server {
			plain = fmt.Sprintf("(%d) %s", server.Code, server.Reason)
		}
		text = strings.Replace(text, server.Error(), plain, 1)
	}
	if why := Explain(err); why != "" {
		text += " (" + why + ")"
	}
	return text
}

// IsConfig tells whether only other settings mend an error of connecting: user, password, rights, virtual
// host, TLS, or a queue that cannot be declared as they say.
func IsConfig(err error) bool {
	var server *amqp.Error
	if errors.As(err, &server) {
		return server.Code == amqp.AccessRefused || server.Code == amqp.NotAllowed || errors.Is(err, amqp.ErrSASL) || IsInvalid(err)
	}
	var record tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	return errors.As(err, &record) || errors.As(err, &cert)
}

// IsInvalid tells whether the server declares nothing in this way, whether it is there or not: it does not know the type
// of a queue, or one of its arguments.
func IsInvalid(err error) bool {
	var server *amqp.Error
	return errors.As(err, &server) && server.Code == amqp.PreconditionFailed && strings.Contains(server.Reason, " - invalid ")
}

// Code is that of the server's error, or 0: the error is not the server's, or the connection failed, or was closed for what has nothing to do with
// what was asked: by an operator, or over something that was sent while its channel was being closed.
func Code(err error) int {
	var server *amqp.Error
	if errors.As(err, &server) && server.Server && server.Code != amqp.ConnectionForced && server.Code != amqp.ChannelError {
		return server.Code
	}
	return 0
}

// Explain returns what is probably wrong, in a phrase for the operator, or "" if the error says it all.
func Explain(err error) string {
	var server *amqp.Error
	if errors.As(err, &server) {
		return explainServer(server)
	}
	var dns *net.DNSError
	var plain tls.RecordHeaderError
	var cert *tls.CertificateVerificationError
	var network net.Error
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return "there is no host of that name"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: is RabbitMQ running, and are host and port right?"
	case errors.As(err, &plain):
		return "the server does not speak TLS on this port: use amqp:// instead of amqps://"
	case errors.As(err, &cert):
		return "the server's certificate is not trusted: see ca_certs and cert_reqs of broker_use_ssl"
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout():
		return "the server did not answer in time"
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return "the server closed the connection; if it always does, it may want TLS (amqps://), or a proxy is in between"
	}
	return ""
}

func explainServer(err *amqp.Error) string {
	switch {
	case errors.Is(err, amqp.ErrSASL):
		return "the server does not offer the broker_login_method"
	case errors.Is(err, amqp.ErrCredentials) || err.Code == amqp.AccessRefused && strings.Contains(err.Reason, "ogin"):
		return "the user name or the password is wrong; guest may log in from the server's own machine only"
	case err.Code == amqp.NotAllowed && strings.Contains(err.Reason, "not found"):
		return "there is no such virtual host: see rabbitmqctl list_vhosts"
	case err.Code == amqp.NotAllowed && strings.Contains(err.Reason, "refused for user"):
		return "the user has no rights in this virtual host: see rabbitmqctl list_permissions"
	case err.Code == amqp.AccessRefused && strings.Contains(err.Reason, "refused for user"):
		return "the user lacks a right: rabbitmqctl list_permissions shows what there is, docs/security.md what is needed"
	case IsInvalid(err):
		return "RabbitMQ has no queue of this kind: see task_queues and task_default_queue_type of the settings"
	case !err.Server && strings.Contains(err.Reason, "EOF"):
		return "the server closed the connection"
	}
	return ""
}
