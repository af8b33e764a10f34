package control

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/apium/apium/internal/fnmatch"
	"github.com/apium/apium/protocol"
)

// concerns tells whether a request is meant for a node (kombu/pidbox.py:
// Node.handle_message). An empty destination is everybody.
func concerns(r *protocol.ControlRequest, node string) (bool, error) {
	switch {
	case len(r.Destination) > 0:
		return slices.Contains(r.Destination, node), nil
	case r.Pattern == "" || r.Matcher == "":
		return true, nil
	}
	pattern := r.Pattern
	switch r.Matcher {
	case "glob":
		pattern = fnmatch.Translate(pattern)
	case "pcre": // Python's re.match: from the start, not necessarily to the end
	default:
		return false, fmt.Errorf("MatcherNotInstalled('No matcher installed for %s')", r.Matcher)
	}
	re, err := regexp.Compile("^(?:" + pattern + ")")
	if err != nil {
		return false, fmt.Errorf("pattern %q: %w", r.Pattern, err)
	}
	return re.MatchString(node), nil
}
