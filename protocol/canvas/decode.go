package canvas

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// ErrTooDeep is returned for signatures that are nested too deep.
var ErrTooDeep = errors.New("canvas: signatures are nested too deep")

// Decode reads a signature from JSON as Python does, with all signatures nested in it.
// Python drops some parts of canvas signatures when it reads them, such as the arguments
// and the immutability of a chain, and so does Decode; a plain signature keeps what is
// not known.
func Decode(raw []byte) (Signature, error) {
	n, err := decode(raw, 0)
	if err != nil {
		return Signature{}, fmt.Errorf("canvas: %w", err)
	}
	return Signature{n}, nil
}

// decodeValue gives an option's value as a signature.
func decodeValue(value any) (*node, error) {
	switch v := value.(type) {
	case *node:
		return v, nil
	case json.RawMessage:
		return decode(v, 0)
	}
	return nil, errors.New("not a signature")
}

func decode(raw []byte, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, ErrTooDeep
	}
	sig, err := protocol.DecodeSignature(raw)
	if err != nil {
		return nil, err
	}
	n := &node{task: sig.Task, args: orNil(sig.Args), kwargs: orNil(sig.Kwargs), immutable: sig.Immutable}
	for _, part := range []struct {
		name string
		raw  []byte
		open byte
	}{{"args", n.args, '['}, {"kwargs", n.kwargs, '{'}, {"options", orNil(sig.Options), '{'}} {
		if part.raw != nil && pyjson.Kind(part.raw) != part.open {
			return nil, fmt.Errorf("signature of %s: its %s are a %s", sig.Task, part.name, pyjson.PythonType(part.raw))
		}
	}
	n.options = membersOf(sig.Options)
	switch sig.SubtaskType {
	case "":
		n.extra = sig.Extra
	case "chain":
		err = n.decodeTasks(chain, depth)
	case "group":
		err = n.decodeTasks(group, depth)
	case "chord":
		err = n.decodeChord(sig.Extra, depth)
	case "xmap":
		err = n.decodeMap(xmap)
	case "xstarmap":
		err = n.decodeMap(xstarmap)
	case "chunks":
		err = n.decodeMap(chunks)
	default:
		return nil, fmt.Errorf("signature of %s: unknown subtask_type %q", sig.Task, sig.SubtaskType)
	}
	return n, err
}

func (n *node) decodeTasks(k kind, depth int) error {
	n.kind, n.task = k, taskNames[k]
	members := membersOf(n.kwargs)
	if !members.has("tasks") {
		return fmt.Errorf("signature of %s: no tasks in its kwargs", n.task)
	}
	var err error
	n.tasks, err = decodeList(members.get("tasks"), depth)
	n.args, n.kwargs, n.immutable, n.tuple = nil, nil, false, true
	n.takeImmutable()
	return err
}

func decodeList(value any, depth int) (tasks []*node, err error) {
	for _, raw := range listOf(value) {
		task, err := decode(raw.(json.RawMessage), depth+1)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, task)
	}
	return tasks, nil
}

func (n *node) decodeChord(extra []byte, depth int) error {
	n.kind, n.tuple = chord, true
	n.rest, n.kwargs = membersOf(n.kwargs), nil
	header, body := n.rest.pop("header"), n.rest.pop("body")
	if len(n.rest) == 0 {
		n.rest = emptyRest()
	}
	n.unwrapKwargs()
	if len(extra) > 0 { // Celery takes unknown members for options
		n.options.update(membersOf(append(append([]byte{'{'}, extra...), '}')))
	}
	var err error
	if n.tasks, err = decodeList(header, depth); err != nil {
		return err
	}
	if raw, ok := header.(json.RawMessage); ok && pyjson.Kind(raw) == '{' {
		if only := n.tasks[0]; only.kind == group || only.kind == chain {
			n.tasks = only.tasks
		}
	}
	if raw, ok := body.(json.RawMessage); ok {
		n.body, err = decode(raw, depth+1)
	}
	return err
}

// unwrapKwargs finds the keyword arguments of a chord from Celery 4: whenever it is
// read there, they are put into another {"kwargs": …}, which no task takes.
func (n *node) unwrapKwargs() {
	for {
		kwargs, _ := n.rest.get("kwargs").(json.RawMessage)
		inner, wrapped := membersOf(kwargs).get("kwargs").(json.RawMessage)
		if !wrapped || len(membersOf(kwargs)) > 1 || pyjson.Kind(inner) != '{' {
			return
		}
		n.rest.set("kwargs", inner)
	}
}

// decodeMap reads the types whose name is in messages of other producers only: Python
// itself writes them as plain signatures.
func (n *node) decodeMap(k kind) error {
	n.kind, n.task = k, taskNames[k]
	members := membersOf(n.kwargs)
	names := []string{"task", "it"}
	if n.kind == chunks {
		names = append(names, "n")
	}
	var kept Options
	for _, name := range names {
		if !members.has(name) {
			return fmt.Errorf("signature of %s: no %s in its kwargs", n.task, name)
		}
		kept.set(name, members.get(name))
	}
	n.kwargs, n.args, n.immutable, n.tuple = kept.encode(), nil, true, true
	return nil
}

func orNil(raw []byte) []byte {
	if isNull(json.RawMessage(raw)) {
		return nil
	}
	return raw
}
