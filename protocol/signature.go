package protocol

import (
	"errors"

	"github.com/apium/apium/protocol/pyjson"
)

// Signature is a call that has not been published: a callback, an errback or a chain
// step.
type Signature struct {
	Task        string
	Args        []byte // raw JSON array; nil: []
	Kwargs      []byte // raw JSON object; nil: {}
	Options     []byte // raw JSON object; nil: {}
	SubtaskType string // "chain", "group", "chord", "xmap", …; "" for a plain task
	Immutable   bool   // the parent's result is not prepended to Args
	// Extra holds the members that have no field here (chord_size of Celery 5.0 and
	// before), as in a JSON object without its braces: `"chord_size": null`.
	Extra []byte
}

// DecodeSignature reads one signature. It shares raw's memory, and keeps what it does
// not know.
func DecodeSignature(raw []byte) (*Signature, error) {
	s := pyjson.NewScanner(raw)
	if !s.Enter('{') {
		if err := s.End(); err != nil {
			return nil, &DecodeError{"signature", err}
		}
		return nil, &DecodeError{"signature", errors.New("not a JSON object")}
	}
	var sig Signature
	for s.Next() {
		switch key := string(s.Key()); key {
		case "task":
			sig.Task = string(s.Scalar())
		case "args":
			sig.Args = s.Value()
		case "kwargs":
			sig.Kwargs = s.Value()
		case "options":
			sig.Options = s.Value()
		case "subtask_type":
			sig.SubtaskType = string(s.Scalar())
		case "immutable":
			sig.Immutable = s.Kind() == 't'
		default:
			sig.Extra = append(pyjson.AppendKey(sig.Extra, key), s.Value()...)
		}
	}
	if err := s.End(); err != nil {
		return nil, &DecodeError{"signature", err}
	}
	if sig.Task == "" {
		return nil, &DecodeError{"signature.task", errMissing}
	}
	return &sig, nil
}

// Append writes the signature with Celery's order of fields, the extra ones last.
func (sig *Signature) Append(dst []byte) []byte {
	dst = append(dst, `{"task": `...)
	dst = pyjson.AppendString(dst, sig.Task)
	dst = append(dst, `, "args": `...)
	dst = appendRaw(dst, sig.Args, "[]")
	dst = append(dst, `, "kwargs": `...)
	dst = appendRaw(dst, sig.Kwargs, "{}")
	dst = append(dst, `, "options": `...)
	dst = appendRaw(dst, sig.Options, "{}")
	dst = append(dst, `, "subtask_type": `...)
	dst = appendText(dst, sig.SubtaskType)
	dst = append(dst, `, "immutable": `...)
	if sig.Immutable {
		dst = append(dst, "true"...)
	} else {
		dst = append(dst, "false"...)
	}
	if len(sig.Extra) > 0 {
		dst = append(pyjson.AppendComma(dst), sig.Extra...)
	}
	return append(dst, '}')
}
