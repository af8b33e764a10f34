package protocol

import (
	"time"

	"github.com/apium/apium/protocol/pyjson"
)

// decodeV1 reads a body that is an object: protocol 1, or the hybrid form when the
// headers name the task too, and then the headers win.
func (d *Decoder) decodeV1(h *Headers, t *Task, body []byte) (*Task, error) {
	hybrid := h.task != nil
	var v1 Headers
	s := pyjson.NewScanner(body)
	v1.Read(&s, body)
	if err := s.End(); err != nil {
		return t.orNil(), &DecodeError{"body", err}
	}
	switch {
	case !hybrid && v1.task == nil:
		return nil, ErrUnknownMessage
	case hybrid && v1.args == nil:
		return t, &DecodeError{"body", errNoArgs}
	case !hybrid:
		t.Protocol = 1
	}
	if hybrid {
		v1.override(h)
	}
	if v1.group == nil {
		v1.group = v1.taskset
	}
	var x texts
	v1.names(t, &x)
	x.store()
	if hybrid && t.ID == "" {
		return t, &DecodeError{"headers.id", errMissing}
	}
	t.Args, t.Kwargs = v1.args, v1.kwargs
	if t.Args == nil {
		t.Args = []byte("[]")
	}
	if t.Kwargs == nil {
		t.Kwargs = []byte("{}")
	}
	t.Embed = Embed{Callbacks: meaning(v1.callbacks), Errbacks: meaning(v1.errbacks), Chord: meaning(v1.chord)}
	if err := t.checkArguments(); err != nil {
		return t, err
	}
	loc := time.UTC
	if v1.utc == 'f' && d.Location != nil {
		loc = d.Location
	}
	return t, v1.fill(t, loc)
}

// override replaces every field that over has.
func (h *Headers) override(over *Headers) {
	for _, field := range []struct{ to, from *[]byte }{
		{&h.task, &over.task},
		{&h.id, &over.id},
		{&h.shadow, &over.shadow},
		{&h.rootID, &over.rootID},
		{&h.parentID, &over.parentID},
		{&h.group, &over.group},
		{&h.lang, &over.lang},
		{&h.origin, &over.origin},
		{&h.argsrepr, &over.argsrepr},
		{&h.kwargsrepr, &over.kwargsrepr},
		{&h.eta, &over.eta},
		{&h.expires, &over.expires},
		{&h.timelimit, &over.timelimit},
		{&h.retries, &over.retries},
		{&h.groupIndex, &over.groupIndex},
		{&h.nesting, &over.nesting},
		{&h.stampedHeaders, &over.stampedHeaders},
		{&h.stamps, &over.stamps},
	} {
		if *field.from != nil {
			*field.to = *field.from
		}
	}
	if over.ignoreResult != 0 {
		h.ignoreResult = over.ignoreResult
	}
}
