package protocol

import "github.com/apium/apium/protocol/pyjson"

// TaskIDs collects the ids of the tasks in a result tuple, in order: [[id, parent], members], in
// which the members of a task are null (AsyncResult.as_tuple).
func TaskIDs(ids []string, tuple []byte) []string {
	parts := pyjson.Elements(tuple)
	if len(parts) != 2 {
		return ids
	}
	if pyjson.Kind(parts[1]) == '[' {
		for _, child := range pyjson.Elements(parts[1]) {
			ids = TaskIDs(ids, child)
		}
		return ids
	}
	if own := pyjson.Elements(parts[0]); len(own) > 0 {
		ids = append(ids, pyjson.Text(own[0]))
	}
	return ids
}
