package redisbackend

import (
	"errors"
	"fmt"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// appendMember writes a part of a chord as Python's worker does,
// [1, "<task id>", "<state>", <result>], and returns the length of what stands
// before the state: it is the same for all results of the task.
func appendMember(dst []byte, part backend.ChordPart) (member []byte, head int, err error) {
	dst = append(dst, "[1, "...)
	if dst, err = pyjson.Append(dst, part.TaskID); err != nil {
		return nil, 0, err
	}
	dst = append(dst, ", "...)
	head = len(dst)
	if dst, err = pyjson.Append(dst, string(part.State)); err != nil {
		return nil, 0, err
	}
	dst = append(dst, ", "...)
	if part.Result == nil {
		dst = append(dst, "null"...)
	}
	dst = append(dst, part.Result...)
	return append(dst, ']'), head, nil
}

var errMember = errors.New(`not [1, "<task id>", "<state>", <result>]`)

func decodeMember(member []byte) (backend.ChordResult, error) {
	var result backend.ChordResult
	plain, err := decompress(member)
	if err != nil {
		return result, err
	}
	s := pyjson.NewScanner(plain)
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
