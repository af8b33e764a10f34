// Package serializer knows kombu's serializers besides JSON: yaml, msgpack and pickle.
// Inside this program everything is Python's JSON (see protocol/pyjson); what is here
// translates bodies and records from and to it.
//
// What JSON cannot say appears as follows. Tuples and sets are arrays, a timedelta is
// a float of seconds, keys that are no strings are written as Python's json writes
// them. Values that a serializer does not have are refused when writing, as by kombu:
// msgpack has no datetime, for one.
package serializer

import (
	"fmt"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/compression"
	"github.com/apium/apium/protocol/serializer/pickle"
	"github.com/apium/apium/protocol/serializer/plain"
)

// Serializer is one of kombu's serializers.
type Serializer struct {
	name, contentType, contentEncoding string
	load, loadRecord                   func([]byte) (any, error)
	dump, dumpRecord                   func(any) ([]byte, error)
}

var _ protocol.Serializer = (*Serializer)(nil)

// serializers are what register_yaml, register_msgpack and register_pickle of
// kombu/serialization.py enter into its registry.
var serializers = []*Serializer{
	{"yaml", protocol.ContentTypeYAML, "utf-8", loadYAML, loadYAML, dumpYAML, dumpYAML},
	{"msgpack", protocol.ContentTypeMsgpack, "binary", loadMsgpack, loadMsgpack, dumpMsgpack, dumpMsgpack},
	{"pickle", protocol.ContentTypePickle, "binary", pickle.Load, pickle.LoadRecord, pickle.Dump, pickle.DumpRecord},
}

// Lookup finds a serializer by kombu's name or by content type. For JSON ("", "json",
// "application/json"), which needs no translation, it returns nil.
func Lookup(name string) (*Serializer, error) {
	if name == "" || name == "json" || name == protocol.ContentTypeJSON {
		return nil, nil
	}
	for _, s := range serializers {
		if s.name == name || s.contentType == name {
			return s, nil
		}
	}
	if name == "auth" {
		return nil, fmt.Errorf("serializer auth: there are no keys for signatures")
	}
	return nil, fmt.Errorf("unknown serializer %q", name)
}

// ByContentType returns the serializer of a content type, nil if there is none here:
// it is for protocol.Decoder.
func ByContentType(contentType string) protocol.Serializer {
	for _, s := range serializers {
		if s.contentType == contentType {
			return s
		}
	}
	return nil
}

// Format is how messages are written with Celery's task_serializer and
// task_compression, which both may be empty: JSON that is not compressed.
func Format(serializer, compress string) (protocol.Format, error) {
	var format protocol.Format
	s, err := Lookup(serializer)
	if err != nil {
		return format, err
	}
	if s != nil {
		format.Serializer = s
	}
	if compress == "" {
		return format, nil
	}
	if format.Compression, err = compression.ContentType(compress); err != nil {
		return format, err
	}
	format.Compress = compression.Compress
	return format, nil
}

// Name is kombu's name: "yaml".
func (s *Serializer) Name() string { return s.name }

// ContentType implements protocol.Serializer.
func (s *Serializer) ContentType() string { return s.contentType }

// ContentEncoding implements protocol.Serializer.
func (s *Serializer) ContentEncoding() string { return s.contentEncoding }

// ToJSON implements protocol.Serializer.
func (s *Serializer) ToJSON(body []byte) ([]byte, error) { return toJSON(s.load, body) }

// FromJSON implements protocol.Serializer. The error says which value has no form in
// this serializer.
func (s *Serializer) FromJSON(text []byte) ([]byte, error) { return fromJSON(s.dump, text) }

// RecordToJSON is ToJSON for a task's result record, where pickle has exceptions as
// objects.
func (s *Serializer) RecordToJSON(record []byte) ([]byte, error) { return toJSON(s.loadRecord, record) }

// RecordFromJSON is FromJSON for a task's result record, where pickle has exceptions as
// objects.
func (s *Serializer) RecordFromJSON(record []byte) ([]byte, error) {
	return fromJSON(s.dumpRecord, record)
}

func toJSON(load func([]byte) (any, error), data []byte) ([]byte, error) {
	v, err := load(data)
	if err != nil {
		return nil, err
	}
	return plain.JSON(v, len(data))
}

func fromJSON(dump func(any) ([]byte, error), text []byte) ([]byte, error) {
	v, err := plain.Parse(text)
	if err != nil {
		return nil, err
	}
	return dump(v)
}
