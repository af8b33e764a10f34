package connection

import "time"

// AMQP says what a URL does not of connections to RabbitMQ. The zero value is fine.
type AMQP struct {
	// Of Options those that AMQP knows: Username, Password, SocketConnectTimeout, Dial.
	Options
	UseTLS *TLS // broker_use_ssl; nil: as the URL says

	// LoginMethod is broker_login_method: PLAIN, AMQPLAIN or EXTERNAL; "": PLAIN.
	LoginMethod string
	// Heartbeat is what is proposed to the server; the smaller of both holds. Whole seconds; 0:
	// 120 s, negative: there are no heartbeats, whatever the server wants.
	Heartbeat time.Duration
	// Name is shown to operators of the server; "": none.
	Name string
	// Properties are shown, too: client_properties of the transport options. connection_name goes
	// before Name.
	Properties map[string]any
	// ChannelMax and FrameMax limit what the server proposes; 0: they do not.
	ChannelMax, FrameMax int

	// Shuffle tries the servers of a list in random order (broker_failover_strategy = shuffle).
	Shuffle bool
}
