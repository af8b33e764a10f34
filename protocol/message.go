package protocol

// Message is kombu's outer object: one entry of a queue. Its slices are parts of
// the text it was decoded from.
type Message struct {
	Raw             []byte
	Body            []byte // the JSON string's text, still encoded as Properties.BodyEncoding says
	ContentType     string // "" when missing
	ContentEncoding string
	Headers         []byte // raw JSON: an object, or null
	Properties      Properties
}

// Properties are the envelope's delivery properties that a worker needs.
type Properties struct {
	DeliveryTag   string
	Exchange      string
	RoutingKey    string
	Redelivered   bool // set by whoever gave the message back after a claim
	BodyEncoding  string
	CorrelationID string
	ReplyTo       string
	Priority      int    // 0 (most urgent on Redis) to 9; Celery 3.1 keeps it in delivery_info
	Raw           []byte // the whole object
}

// DecodeMessage reads an envelope. What makes a Python consumer exit (no
// properties, no delivery tag, no delivery info) is a *DecodeError here.
func DecodeMessage(raw []byte) (Message, error) { return Message{Raw: raw}, nil }

// MarkRedelivered returns the envelope as kombu's restore leaves it: with
// headers.redelivered and properties.delivery_info.redelivered true and every
// other byte unchanged.
func MarkRedelivered(raw []byte) ([]byte, error) { return raw, nil }
