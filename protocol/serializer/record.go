package serializer

import (
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// EncodeRecord writes a task's result record, which is JSON, in this serializer; nil: as it is. What the
// serializer does not have is replaced by its repr where Celery does so, and where the record matters more than that:
// in the arguments of exceptions, and among what result_extended adds. The error is about the task's result.
func (s *Serializer) EncodeRecord(record []byte) ([]byte, error) {
	if s == nil {
		return record, nil
	}
	encoded, err := s.RecordFromJSON(record)
	if err == nil {
		return encoded, nil
	}
	result, decodeErr := protocol.DecodeResult(record)
	if decodeErr != nil {
		return nil, err
	}
	if more := result.Extended; more != nil { // Celery stores nothing then, and the caller waits in vain
		more.Args, more.Kwargs = s.storable(more.Args), s.storable(more.Kwargs)
	}
	if result.State != protocol.Success {
		result.Result = s.StorableException(result.Result)
	}
	return s.RecordFromJSON(result.Append(nil))
}

// has tells whether the serializer has a value.
func (s *Serializer) has(raw []byte) bool {
	_, err := s.FromJSON(raw)
	return err == nil
}

// storable replaces a value that the serializer refuses by its repr.
func (s *Serializer) storable(raw []byte) []byte {
	if raw == nil || s.has(raw) {
		return raw
	}
	text, err := pyjson.Append(nil, protocol.SafeRepr(raw))
	if err != nil {
		return raw
	}
	return text
}

// StorableException replaces the arguments of an exception, as in records, that the serializer refuses
// by their repr, as Celery does: they may be anything.
func (s *Serializer) StorableException(raw []byte) []byte {
	exception, err := protocol.DecodeException(raw)
	if err != nil || s.has(raw) {
		return raw
	}
	args := pyjson.Elements(exception.Message)
	for i, arg := range args {
		args[i] = s.storable(arg)
	}
	exception.Message = pyjson.AppendArray(nil, args)
	return exception.Append(nil)
}
