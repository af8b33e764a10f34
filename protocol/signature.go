package protocol

// Signature is a call that has not been published: a callback, an errback or a
// chain step. Every field is raw JSON, so that what Go does not know survives.
type Signature struct {
	Task        string
	Args        []byte // array; nil: []
	Kwargs      []byte // object; nil: {}
	Options     []byte // object; nil: {}
	SubtaskType string // "chain", "group", "chord", …; "" for a plain task
	Immutable   bool   // the parent's result is not prepended to Args
	Raw         []byte // the object it was decoded from, nil for a new one
}

// DecodeSignature reads one signature.
func DecodeSignature(raw []byte) (*Signature, error) { return nil, nil }

// DecodeSignatures reads an array of signatures, or a single one in its place.
func DecodeSignatures(raw []byte) ([]*Signature, error) { return nil, nil }

// Append writes the signature: as it was read, apart from the fields changed since.
func (s *Signature) Append(dst []byte) []byte { return dst }
