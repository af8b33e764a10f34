package protocol

import (
	"fmt"
	"slices"
	"strings"
)

// ContentTypeJSON is the only content type whose bodies this package decodes.
const ContentTypeJSON = "application/json"

// contentTypes maps kombu's serializer names to content types.
var contentTypes = map[string]string{
	"json":    ContentTypeJSON,
	"yaml":    "application/x-yaml",
	"msgpack": "application/x-msgpack",
	"pickle":  "application/x-python-serialize",
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
	case contentType == "application/data", contentType == "application/text":
		return true
	case a.types == nil:
		return contentType == ContentTypeJSON
	default:
		return slices.Contains(a.types, contentType)
	}
}
