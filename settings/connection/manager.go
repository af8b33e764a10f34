package connection

// Manager is where RabbitMQ's management plugin answers, and to whom: manager_hostname and its like of
// broker_transport_options. What is empty is as it is in the URL of the broker.
type Manager struct {
	Hostname           string
	Port               int // 0: 15672, or 15671 where the broker is reached with TLS
	Username, Password string
}
