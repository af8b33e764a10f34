package canvas

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/apium/apium/protocol/pyjson"
)

// Stamp adds stamps, which every task in the signature carries, as do their callbacks and
// errbacks: workers can revoke tasks by them. They replace stamps of the same name. As in
// Celery the body of a chord is not stamped with it.
func (s Signature) Stamp(stamps map[string]any) Signature {
	return s.with(func(n *node) error {
		var all Options
		for _, name := range slices.Sorted(maps.Keys(stamps)) {
			all = append(all, Opt(name, stamps[name]))
		}
		n.stamp(all)
		return all.check()
	})
}

// stamp stamps a signature as Signature.stamp, and the classes derived from it, without a
// visitor.
func (n *node) stamp(stamps Options) {
	switch n.kind {
	case chain, group, chord:
		stamps = n.withOwnStamps(stamps)
		n.stampLinks(stamps)
		for _, task := range n.headerTasks() {
			task.stamp(stamps)
		}
	default:
		n.stampLinks(stamps)
		stamps = n.withOwnStamps(stamps)
		names := make([]string, len(stamps))
		for i, stamp := range stamps {
			names[i] = stamp.name
			n.options.set(stamp.name, stamp.value)
		}
		raw, err := pyjson.Append(nil, names)
		n.note(err)
		n.options.set("stamped_headers", json.RawMessage(raw))
	}
}

// withOwnStamps adds the stamps that n has to others, which override them.
func (n *node) withOwnStamps(stamps Options) Options {
	all := stamps.clone()
	for _, name := range stampNames(n.options) {
		if n.options.has(name) && !all.has(name) {
			all.set(name, n.options.get(name))
		}
	}
	return all
}

// stampLinks stamps callbacks and errbacks. Those that were read as a part of a message
// stay as they are, as in Celery.
func (n *node) stampLinks(stamps Options) {
	for _, option := range []string{"link", "link_error"} {
		list := n.options.list(option)
		for i, value := range list {
			if link, ok := value.(*node); ok {
				link = link.copy()
				link.stamp(stamps)
				list[i] = link
			}
		}
	}
}
