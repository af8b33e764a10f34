package settings

import (
	"maps"
	"slices"
	"time"
)

// What a Go program assigns to the fields of Settings is written as a file would have it, so
// that it is read, checked and reported like a file: encode is the reverse of decoder.assign.

// absent is what a member encodes to that was not given; None would be nil.
type absent struct{}

// encode returns the value of a document that decodes into what src points to.
func encode(src any) any {
	switch src := src.(type) {
	case decodable:
		return src.encode()
	case *bool:
		return *src
	case *int:
		return int64(*src)
	case *string:
		return *src
	case *time.Duration:
		return inSeconds(*src)
	case **bool:
		return encodePointer(*src)
	case **int:
		return encodePointer(*src)
	case **string:
		return encodePointer(*src)
	case **time.Duration:
		return encodePointer(*src)
	case *[]string:
		return encodeList(*src)
	case *[]int:
		return encodeList(*src)
	}
	return absent{} // assign knows no other
}

func encodePointer[T any](src *T) any {
	if src == nil {
		return absent{}
	}
	return encode(src)
}

// encodeList tells no list from an empty one.
func encodeList[T any](list []T) any {
	if list == nil {
		return absent{}
	}
	values := make([]any, len(list))
	for i := range list {
		values[i] = encode(&list[i])
	}
	return values
}

// encodeMembers returns what was given of fields; a zero value was not, where its place is
// not a pointer.
func encodeMembers(fields map[string]any) object {
	o := object{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := encode(fields[name])
		switch fields[name].(type) {
		case *bool, *int, *string, *time.Duration, orNone, positive:
			if value == false || value == int64(0) || value == "" {
				continue
			}
		}
		if value != (absent{}) {
			o = append(o, member{name, value})
		}
	}
	return o
}

// inSeconds is a whole number where it can be.
func inSeconds(d time.Duration) any {
	if d%time.Second == 0 {
		return int64(d / time.Second)
	}
	return d.Seconds()
}

// encodeText is a text that may be missing.
func encodeText(text string) any {
	if text == "" {
		return absent{}
	}
	return text
}
