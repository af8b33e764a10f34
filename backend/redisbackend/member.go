package redisbackend

import (
	"errors"
	"fmt"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// beginMember writes a part of a chord as Python's worker does, [1, "<task id>", "<state>", <result>], up to its result.
// head is the length of what stands before the state: it is the same for all results of the task. room is for how many
// bytes more there is room.
func beginMember(part backend.ChordPart, room int) (member []byte, head int, err error) {
	if len(part.Result)+6*(len(part.TaskID)+len(part.State))+16 > redisconn.MaxString { // a character has at most 6 bytes in JSON
		return nil, 0, fmt.Errorf("the result has %d bytes; Redis stores at most 512 MiB", len(part.Result))
	}
	member = append(make([]byte, 0, 80+room), "[1, "...)
	member = pyjson.AppendComma(pyjson.AppendString(member, part.TaskID))
	head = len(member)
	return pyjson.AppendComma(pyjson.AppendString(member, string(part.State))), head, nil
}

// encodeMember writes a whole part.
func encodeMember(part backend.ChordPart) (member []byte, head int, err error) {
	member, head, err = beginMember(part, len(part.Result))
	if err != nil {
		return nil, 0, err
	}
	if part.Result == nil {
		member = append(member, "null"...)
	}
	return append(append(member, part.Result...), ']'), head, nil
}

// memberArgument is encodeMember for who sends the member, which has size bytes: a large result is not copied for that.
func (b *Backend) memberArgument(part backend.ChordPart) (argument any, size, head int, err error) {
	if len(part.Result) < redisconn.StreamFrom || !b.plainly() {
		member, head, err := b.encodeMember(part)
		return member, len(member), head, err
	}
	begun, head, err := beginMember(part, 0)
	if err != nil {
		return nil, 0, 0, err
	}
	size = len(begun) + len(part.Result) + len("]")
	return redisconn.Stream{Size: size, Pieces: func(yield func([]byte) bool) {
		_ = yield(begun) && yield(part.Result) && yield([]byte{']'})
	}}, size, head, nil
}

var errMember = errors.New(`not [1, "<task id>", "<state>", <result>]`)

// encodeMember is the function of that name, as members are stored. In another serializer
// or compressed, the head is the whole: what old workers have counted in it is only known again if it is
// the very same.
func (b *Backend) encodeMember(part backend.ChordPart) (member []byte, head int, err error) {
	if b.plainly() {
		return encodeMember(part)
	}
	plain, _, err := encodeMember(part)
	if err != nil {
		return nil, 0, err
	}
	member, err = b.encode(plain)
	if err != nil && b.serializer != nil && part.State != protocol.Success {
		part.Result = b.serializer.StorableException(part.Result)
		if plain, _, err = encodeMember(part); err == nil {
			member, err = b.encode(plain)
		}
	}
	return member, len(member), err
}

func (b *Backend) decodeMember(member []byte) (backend.ChordResult, error) {
	plain, err := b.decode(member)
	if err != nil {
		return backend.ChordResult{}, err
	}
	return decodeMember(plain)
}

// decodeMember reads a part that is JSON.
func decodeMember(member []byte) (backend.ChordResult, error) {
	var result backend.ChordResult
	s := pyjson.NewScanner(member)
	s.Enter('[')
	n := 0
	for ; s.Next(); n++ {
		var text []byte
		ok := true
		switch n {
		case 1:
			text, ok = s.Text()
			result.TaskID = string(text)
		case 2:
			text, ok = s.Text()
			result.State = protocol.State(text)
		case 3:
			result.Result = s.Value()
		}
		if !ok {
			return result, errMember
		}
	}
	if err := s.End(); err != nil {
		return result, fmt.Errorf("%w: %w", errMember, err)
	}
	if n != 4 {
		return result, errMember
	}
	return result, nil
}
