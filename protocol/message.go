package protocol

// Message is kombu's outer object: one entry of a queue. Its slices are parts of the
// text it was decoded from, which must not change as long as they are in use.
type Message struct {
	Raw             []byte
	Body            []byte // what the string says, still encoded as Properties.BodyEncoding tells
	ContentType     string // "" when missing
	ContentEncoding string
	Headers         []byte // raw JSON object; nil when missing or null
	Properties      Properties
}

// Properties are the envelope's delivery properties that a worker needs.
type Properties struct {
	DeliveryTag   string
	Exchange      string
	RoutingKey    string
	Redelivered   bool   // set by whoever gave the message back after a claim
	BodyEncoding  string // "base64", or "" and "utf-8" for the text itself
	CorrelationID string
	ReplyTo       string
	Priority      int    // 0 (most urgent on Redis) to 9; Celery 3.1 keeps it in delivery_info
	Raw           []byte // the whole object
}

// DecodeMessage reads an envelope without looking into its body. What makes a Python
// consumer exit (no properties, no delivery tag, no delivery info) is a *DecodeError.
func DecodeMessage(raw []byte) (Message, error) {
	var e envelope
	err := e.read(raw)
	if err == nil {
		err = e.check()
	}
	if err != nil {
		return Message{Raw: raw}, err
	}
	p := &e.properties
	return Message{
		Raw:             raw,
		Body:            e.body,
		ContentType:     known(e.contentType, ContentTypeJSON),
		ContentEncoding: known(e.encoding, "utf-8", "binary"),
		Headers:         e.headers.raw,
		Properties: Properties{
			DeliveryTag:   string(p.deliveryTag),
			Exchange:      string(p.exchange),
			RoutingKey:    string(p.routingKey),
			Redelivered:   p.redelivered,
			BodyEncoding:  known(p.bodyEncoding, "base64", "utf-8"),
			CorrelationID: string(p.correlationID),
			ReplyTo:       string(p.replyTo),
			Priority:      p.level(),
			Raw:           p.raw,
		},
	}, nil
}
