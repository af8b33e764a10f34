package control

import "github.com/apium/apium/protocol/pyjson"

// others are keyword arguments that a command does not look at.
type others = map[string]any

func succeeded(text string) map[string]any { return map[string]any{"ok": text} }
func failed(text string) map[string]any    { return map[string]any{"error": text} }

func encode(value any) ([]byte, error) { return pyjson.Append(nil, value) }

// truthy is Python's bool of a value that JSON can have.
func truthy(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case int64:
		return v != 0
	case float64:
		return v != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}
