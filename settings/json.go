package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

func parseJSON(data []byte) (object, error) {
	value, err := parseJSONValue(data)
	if err != nil {
		return nil, err
	}
	doc, ok := value.(object)
	if !ok {
		return nil, errors.New("the settings are not a JSON object")
	}
	return doc, nil
}

// parseJSONValue keeps the order of members and refuses a key that stands twice,
// neither of which json.Unmarshal does.
func parseJSONValue(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	value, err := jsonValue(d, 0)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w, after %d bytes", err, d.InputOffset())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("not JSON: something follows the value, after %d bytes", d.InputOffset())
	}
	return value, nil
}

func jsonValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Number:
		return parseNumber(token.String())
	case json.Delim:
		if token == '{' {
			return jsonObject(d, depth)
		}
		list := []any{}
		for d.More() {
			value, err := jsonValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := d.Token()
		return list, err
	}
	return token, nil // nil, bool, string
}

func jsonObject(d *json.Decoder, depth int) (any, error) {
	o := object{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("key %v is not a string", token)
		}
		if o.has(key) {
			return nil, fmt.Errorf("key %q stands twice in an object", key)
		}
		value, err := jsonValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		o = append(o, member{key, value})
	}
	_, err := d.Token()
	return o, err
}

// parseNumber gives an int64 for a whole number that fits, a json.Number for a longer one, which is an argument
// of a periodic task, else a float64.
func parseNumber(text string) (any, error) {
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, nil
	}
	if !strings.ContainsAny(text, ".eE") {
		return json.Number(text), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("number %s is out of range", text)
	}
	return f, nil
}
