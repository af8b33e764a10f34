package control

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/apium/apium/protocol/pyjson"
)

// Arguments makes keyword arguments, as a raw JSON object, of what stands on a command
// line. What is too much for a command without arguments is ignored, as by Celery.
func (c *Command) Arguments(args []string) ([]byte, error) {
	object := []byte{'{'}
	add := func(name string, value any) (err error) {
		object, err = pyjson.Append(pyjson.AppendKey(object, name), value)
		return err
	}
	for i, p := range c.params {
		if i == len(args) {
			break
		}
		value, err := p.read(args[i])
		if err == nil {
			err = add(p.name, value)
		}
		if err != nil {
			return nil, fmt.Errorf("invalid value for %s: %w", p.name, err)
		}
	}
	rest := args[min(len(c.params), len(args)):]
	switch {
	case c.variadic != "":
		if err := add(c.variadic, append([]string{}, rest...)); err != nil {
			return nil, err
		}
	case len(c.params) > 0 && len(rest) > 0:
		return nil, fmt.Errorf("command '%s' takes arguments: %s", c.Name, c.Usage)
	}
	return append(object, '}'), nil
}

func readText(s string) (any, error) { return s, nil }

func readInt(s string) (any, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("'%s' is not an integer", s)
	}
	return n, nil
}

func readFloat(s string) (any, error) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return nil, fmt.Errorf("'%s' is not a number", s)
	}
	return f, nil
}

// readBool reads what Celery's strtobool does.
func readBool(s string) (any, error) {
	switch strings.ToLower(s) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return nil, fmt.Errorf("'%s' is neither true nor false", s)
}
