package protocol

import (
	"fmt"
	"slices"
	"strings"
)

// The content types of kombu's serializers. This package decodes JSON; the others need
// a Serializer.
const (
	ContentTypeJSON    = "application/json"
	ContentTypeYAML    = "application/x-yaml"
	ContentTypeMsgpack = "application/x-msgpack"
	ContentTypePickle  = "application/x-python-serialize"
)

// contentTypeData is that of raw bytes, and of what the auth serializer signs.
const contentTypeData = "application/data"

// contentTypes maps kombu's serializer names to content types.
var contentTypes = map[string]string{
	"json":    ContentTypeJSON,
	"yaml":    ContentTypeYAML,
	"msgpack": ContentTypeMsgpack,
	"pickle":  ContentTypePickle,
}

// Accept is the set of content types a worker takes: Celery's accept_content.
// The zero value accepts JSON only, which is Celery's default.
type Accept struct {
	types []string // nil: JSON only
}

// NewAccept builds the set from content types and kombu's serializer names ("json",
// "yaml", "msgpack", "pickle"). Without any it is the default.
func NewAccept(names ...string) (Accept, error) {
	var a Accept
	for _, name := range names {
		contentType, isName := contentTypes[name]
		if !isName {
			if name == "auth" {
				return Accept{}, fmt.Errorf("accept_content: auth: %w", errSigned)
			}
			if !strings.Contains(name, "/") {
				return Accept{}, fmt.Errorf("accept_content: unknown serializer %q", name)
			}
			contentType = name
		}
		a.types = append(a.types, contentType)
	}
	return a, nil
}

// Accepts says whether a message of this content type may be decoded. Like kombu it
// always trusts the two types whose bodies are raw text.
func (a Accept) Accepts(contentType string) bool {
	switch {
	case contentType == contentTypeData, contentType == "application/text":
		return true
	case a.types == nil:
		return contentType == ContentTypeJSON
	default:
		return slices.Contains(a.types, contentType)
	}
}
