package protocol

// Serializer is one of kombu's serializers besides JSON: package serializer has them.
// Everything else in this module is written in terms of Python's JSON, so a serializer
// is a translation.
type Serializer interface {
	ContentType() string     // "application/x-yaml"
	ContentEncoding() string // "utf-8", or "binary"
	// ToJSON returns the JSON text that says what a body says. A body that says nothing
	// JSON and kombu's __type__ objects can hold is an error.
	ToJSON(body []byte) ([]byte, error)
	// FromJSON returns the body that says what a JSON text says, __type__ objects as
	// what they stand for.
	FromJSON(text []byte) ([]byte, error)
}

// Format is how bodies are written: Celery's task_serializer and task_compression. The
// zero value is JSON that is not compressed.
type Format struct {
	Serializer  Serializer // nil: JSON
	Compression string     // content type for the compression header; "": not compressed
	// Compress packs a body. It is required with Compression.
	Compress func(method string, body []byte) ([]byte, error)
}

// encode writes a body given as JSON text.
func (f *Format) encode(body []byte) ([]byte, error) {
	var err error
	if f.Serializer != nil {
		if body, err = f.Serializer.FromJSON(body); err != nil {
			return nil, err
		}
	}
	if f.Compression != "" {
		return f.Compress(f.Compression, body)
	}
	return body, nil
}

func (f *Format) contentType() string {
	if f.Serializer == nil {
		return ContentTypeJSON
	}
	return f.Serializer.ContentType()
}

func (f *Format) contentEncoding() string {
	if f.Serializer == nil {
		return "utf-8"
	}
	return f.Serializer.ContentEncoding()
}
