package protocol

import (
	"fmt"
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
	"auth":    "application/data",
	"text":    "text/plain",
	"none":    "application/data",
}

// Accept is the set of content types a worker takes: Celery's accept_content.
// The zero value accepts JSON only, which is Celery's default.
type Accept struct {
	types []string // nil: JSON only
}

// NewAccept builds the set from content types and kombu's serializer names
// ("json", "yaml", "msgpack", "pickle", "text"). No names at all is an error in
// kombu only when a message comes; here it gives the default.
func NewAccept(names ...string) (Accept, error) {
	var a Accept
	for _, name := range names {
		contentType, known := contentTypes[name]
		switch {
		case known:
		case strings.Contains(name, "/"):
			contentType = name
		default:
			return Accept{}, fmt.Errorf("accept_content: unknown serializer %q", name)
		}
		a.types = append(a.types, contentType)
	}
	return a, nil
}
