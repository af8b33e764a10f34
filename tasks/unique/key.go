package unique

import (
	"crypto/md5" //nolint:gosec // it is celery-singleton's, and keeps no secret
	"encoding/hex"
	"maps"
	"slices"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// SingletonPrefix is what celery-singleton's keys begin with (singleton_key_prefix).
const SingletonPrefix = "SINGLETONLOCK_"

// SingletonKey is celery-singleton's key of a task without unique_on: of its name and all its arguments, as they are
// given. Like there, a call that gives an argument by position and one that gives it by name are not alike. Its own keys of
// dicts whose keys are no texts are other ones.
func SingletonKey(task *protocol.Task) string {
	text := append([]byte(task.Name), sorted(task.Args, "[]")...)
	sum := md5.Sum(append(text, sorted(task.Kwargs, "{}")...)) //nolint:gosec // as above
	return SingletonPrefix + hex.EncodeToString(sum[:])
}

// sorted is JSON as Python writes it with sort_keys.
func sorted(raw []byte, none string) []byte {
	if written, err := pyjson.Reencode(nil, raw); err == nil && pyjson.Kind(written) != 'n' {
		return appendSorted(nil, written)
	}
	return []byte(none)
}

func appendSorted(dst, raw []byte) []byte {
	switch pyjson.Kind(raw) {
	case '{':
		members := maps.Collect(pyjson.Members(raw))
		dst = append(dst, '{')
		for _, name := range slices.Sorted(maps.Keys(members)) {
			dst = appendSorted(pyjson.AppendKey(dst, name), members[name])
		}
		return append(dst, '}')
	case '[':
		dst = append(dst, '[')
		for _, element := range pyjson.Elements(raw) {
			dst = appendSorted(pyjson.AppendComma(dst), element)
		}
		return append(dst, ']')
	default:
		return append(dst, raw...)
	}
}
