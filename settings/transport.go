package settings

import (
	"maps"
	"strings"
	"time"

	"github.com/apium/apium/settings/connection"
)

// TransportOptions is broker_transport_options, as far as kombu's transports for Redis and RabbitMQ
// know them. A zero value is kombu's default.
type TransportOptions struct {
	ConnectionOptions

	VisibilityTimeout      time.Duration
	PrioritySteps          []int
	Sep                    string
	QueueOrderStrategy     string
	GlobalKeyprefix        string
	UnackedKey             string
	UnackedIndexKey        string
	UnackedMutexKey        string
	UnackedMutexExpire     time.Duration
	UnackedRestoreLimit    int
	UnackedRestoreInterval time.Duration
	UnackedRestoreThrottle int
	PollingInterval        time.Duration
	MaxConnections         int     // of those that wait for messages, and two more; 0 or less: kombu\'s 10
	NoAckEmulation         bool    // ack_emulation: false
	DeadletterQueue        string  // for messages that no queue is bound for; "": they are refused
	FanoutPrefix           *string // nil: "/{db}."; "" for fanout_prefix: false
	NoFanoutPatterns       bool    // fanout_patterns: false

	// Of RabbitMQ.
	ClientProperties map[string]any // shown to RabbitMQ's operators; connection_name is the name there
	ChannelMax       int            // channels of a connection; 0: as the server has it
	// ConsumerTimeout is RabbitMQ's own consumer_timeout, if that is not 30 minutes: no message is held for longer than
	// half of it. 0: as it has it.
	ConsumerTimeout time.Duration
	FrameMax        int // bytes of a frame; 0: as the server has it
	Manager         connection.Manager
}

// ResultTransportOptions is result_backend_transport_options.
type ResultTransportOptions struct {
	ConnectionOptions

	GlobalKeyprefix      string
	NoResultChordOrdered bool // result_chord_ordered: false
}

// ConnectionOptions are what broker and result backend have in common.
type ConnectionOptions = connection.Options

func connectionFields(o *connection.Options) map[string]any {
	return map[string]any{
		"socket_timeout":           limit{&o.SocketTimeout},
		"socket_connect_timeout":   &o.SocketConnectTimeout,
		"health_check_interval":    limit{&o.HealthCheckInterval},
		"client_name":              &o.ClientName,
		"username":                 &o.Username,
		"password":                 &o.Password,
		"master_name":              &o.MasterName,
		"min_other_sentinels":      &o.MinOtherSentinels,
		"sentinel_kwargs":          sentinel{o},
		"sentinel_fanout_compat":   nothing{}, // for kombu before 5.4
		"socket_keepalive":         nothing{}, // always on
		"socket_keepalive_options": nothing{},
		"retry_on_timeout":         nothing{}, // always
		"max_connections":          nothing{}, // results take two
		"polling_interval":         nothing{},
	}
}

func (o *TransportOptions) decode(d *decoder, value any) {
	*o = TransportOptions{}
	given, ok := d.object(value)
	if !ok {
		return
	}
	d.members(given, o.fields())
	if given.has("consumer_timeout") && o.ConsumerTimeout <= 0 {
		d.in("consumer_timeout", func() { d.bad("%v is not positive: RabbitMQ's default is 1800 s", o.ConsumerTimeout) })
	}
	if given.has("visibility_timeout") && o.VisibilityTimeout < time.Second {
		d.in("visibility_timeout", func() { d.bad("%v is less than a second", o.VisibilityTimeout) })
	}
}

func (o *TransportOptions) encode() any { return encodeMembers(o.fields()) }

func (o *TransportOptions) fields() map[string]any {
	fields := connectionFields(&o.ConnectionOptions)
	maps.Copy(fields, map[string]any{
		"visibility_timeout":       &o.VisibilityTimeout,
		"priority_steps":           &o.PrioritySteps,
		"sep":                      &o.Sep,
		"queue_order_strategy":     oneOf{&o.QueueOrderStrategy, []string{"round_robin", "priority", "sorted"}},
		"global_keyprefix":         &o.GlobalKeyprefix,
		"unacked_key":              &o.UnackedKey,
		"unacked_index_key":        &o.UnackedIndexKey,
		"unacked_mutex_key":        &o.UnackedMutexKey,
		"unacked_mutex_expire":     &o.UnackedMutexExpire,
		"unacked_restore_limit":    &o.UnackedRestoreLimit,
		"unacked_restore_interval": &o.UnackedRestoreInterval,
		"unacked_restore_throttle": &o.UnackedRestoreThrottle,
		"polling_interval":         &o.PollingInterval,
		"max_connections":          orNone{&o.MaxConnections},
		"ack_emulation":            unless{&o.NoAckEmulation},
		"fanout_prefix":            prefix{&o.FanoutPrefix},
		"fanout_patterns":          unless{&o.NoFanoutPatterns},
		"body_encoding":            nothing{}, // messages say their own
		"deadletter_queue":         &o.DeadletterQueue,
		"max_retries":              nothing{}, // of publishing, in Python
		"interval_start":           nothing{},
		"interval_step":            nothing{},
		"interval_max":             nothing{},
		"connect_retries_timeout":  nothing{},
		"client_properties":        arguments{&o.ClientProperties},
		"channel_max":              positive{&o.ChannelMax},
		"frame_max":                positive{&o.FrameMax},
		"consumer_timeout":         &o.ConsumerTimeout,
		"manager_hostname":         &o.Manager.Hostname,
		"manager_port":             positive{&o.Manager.Port},
		"manager_userid":           &o.Manager.Username,
		"manager_password":         &o.Manager.Password,
		"confirm_publish":          nothing{}, // always
		"confirm_timeout":          nothing{},
		"read_timeout":             nothing{}, // heartbeats tell of dead connections
		"write_timeout":            nothing{},
		"socket_settings":          nothing{},
		"login_response":           nothing{}, // follows from the login method
	})
	return fields
}

func (o *ResultTransportOptions) decode(d *decoder, value any) {
	*o = ResultTransportOptions{}
	if given, ok := d.object(value); ok {
		d.members(given, o.fields())
	}
}

func (o *ResultTransportOptions) encode() any { return encodeMembers(o.fields()) }

func (o *ResultTransportOptions) fields() map[string]any {
	fields := connectionFields(&o.ConnectionOptions)
	fields["global_keyprefix"] = &o.GlobalKeyprefix
	fields["result_chord_ordered"] = unless{&o.NoResultChordOrdered}
	fields["retry_policy"] = nothing{}       // results are stored as soon as there is a connection
	fields["visibility_timeout"] = nothing{} // Celery's manual wants it here, too; nothing reads it
	fields["additional_connection_errors"] = nothing{}
	return fields
}

// sentinel takes the user and password for Sentinel itself.
type sentinel struct{ o *connection.Options }

func (s sentinel) decode(d *decoder, value any) {
	if o, ok := d.object(value); ok {
		d.members(o, s.fields())
	}
}

func (s sentinel) encode() any {
	if o := encodeMembers(s.fields()); len(o) > 0 {
		return o
	}
	return absent{}
}

func (s sentinel) fields() map[string]any {
	return map[string]any{"username": &s.o.SentinelUsername, "password": &s.o.SentinelPassword}
}

// limit is a duration whose zero value is a default; a negative one, none, only Go can say.
type limit struct{ dst *time.Duration }

func (l limit) decode(d *decoder, value any) { d.assign(l.dst, value) }

func (l limit) encode() any {
	if *l.dst <= 0 {
		return absent{}
	}
	return inSeconds(*l.dst)
}

// unless is a bool whose zero value in Go means Python's True. None is the default.
type unless struct{ dst *bool }

func (u unless) decode(d *decoder, value any) {
	on := true
	if value != nil {
		d.assign(&on, value)
	}
	*u.dst = !on
}

func (u unless) encode() any {
	if *u.dst {
		return false
	}
	return absent{}
}

// prefix is a text, or False for none, or True for the default.
type prefix struct{ dst **string }

func (p prefix) decode(d *decoder, value any) {
	switch v := value.(type) {
	case nil:
		*p.dst = nil
	case bool:
		if *p.dst = nil; !v {
			*p.dst = new(string)
		}
	default:
		d.assign(p.dst, v)
	}
}

func (p prefix) encode() any {
	if *p.dst != nil && **p.dst == "" {
		return false
	}
	return encode(p.dst)
}

// TLS is broker_use_ssl or redis_backend_use_ssl.
type TLS = connection.TLS

// tlsOptions is a mapping of ssl_*; true is TLS as it comes, false and None are none.
type tlsOptions struct{ dst **TLS }

func (t tlsOptions) decode(d *decoder, value any) {
	*t.dst = nil
	o, ok := value.(object)
	if !ok {
		var on bool
		if d.assign(&on, value); on {
			*t.dst = &TLS{}
		}
		return
	}
	if len(o) == 0 {
		return
	}
	tls := &TLS{}
	*t.dst = tls
	fields := tlsFields(tls)
	for name, field := range fields {
		fields[strings.TrimPrefix(name, "ssl_")] = field // as for other transports
	}
	d.members(o, fields)
}

func (t tlsOptions) encode() any {
	if *t.dst == nil {
		return absent{}
	}
	if o := encodeMembers(tlsFields(*t.dst)); len(o) > 0 {
		return o
	}
	return true
}

func tlsFields(tls *TLS) map[string]any {
	return map[string]any{
		"ssl_cert_reqs": certReqs{&tls.CertReqs}, "ssl_ca_certs": &tls.CACerts, "ssl_certfile": &tls.CertFile, "ssl_keyfile": &tls.KeyFile,
		"ssl_password": keyPassword{}, "ssl_ca_path": &tls.CAPath, "ssl_ca_data": &tls.CAData, "ssl_check_hostname": &tls.CheckHostname,
		"server_hostname": serverName{tls}, "ciphers": chosenByGo{}, "ssl_version": chosenByGo{},
	}
}

// serverName is whom RabbitMQ's certificate must name; None is the host of the URL.
type serverName struct{ tls *TLS }

func (n serverName) decode(d *decoder, value any) {
	d.assign(&n.tls.ServerHostname, value)
	if n.tls.ServerHostname == "" {
		n.tls.CheckHostname = new(true)
	}
}

func (n serverName) encode() any { return encodeText(n.tls.ServerHostname) }

// chosenByGo is what crypto/tls does not let anybody choose who does not know better.
type chosenByGo struct{}

func (chosenByGo) decode(d *decoder, value any) {
	if value != nil {
		d.warn("has no effect: TLS 1.2 or 1.3 is spoken, with the ciphers that Go holds safe")
	}
}

func (chosenByGo) encode() any { return absent{} }

// keyPassword is that of a private key, which crypto/tls cannot read.
type keyPassword struct{}

func (keyPassword) decode(d *decoder, value any) {
	if value != nil {
		d.bad("a key with a password cannot be read here: decrypt it, with openssl pkey -in KEY -out NEW")
	}
}

func (keyPassword) encode() any { return absent{} }

// certReqs is a name, or the number of ssl.CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED.
type certReqs struct{ dst *string }

func (c certReqs) decode(d *decoder, value any) {
	names := []string{"none", "optional", "required", "CERT_NONE", "CERT_OPTIONAL", "CERT_REQUIRED"}
	if n, ok := value.(int64); ok && n >= 0 && n <= 2 {
		value = names[n]
	}
	oneOf{c.dst, names}.decode(d, value)
}

func (c certReqs) encode() any { return encodeText(*c.dst) }
