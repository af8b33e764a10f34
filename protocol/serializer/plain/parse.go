package plain

import (
	"fmt"

	"github.com/apium/apium/protocol/pyjson"
)

// Parse reads Python's JSON. A __type__ object becomes the value it stands for. A
// syntax error is a *pyjson.SyntaxError, a bad __type__ object a *pyjson.MarkerError.
func Parse(text []byte) (any, error) {
	if err := pyjson.Valid(text); err != nil {
		return nil, err
	}
	s := pyjson.NewScanner(text)
	return parse(&s)
}

func parse(s *pyjson.Scanner) (any, error) {
	switch s.Kind() {
	case '[':
		list := &List{}
		s.Enter('[')
		for s.Next() {
			item, err := parse(s)
			if err != nil {
				return nil, err
			}
			list.Items = append(list.Items, item)
		}
		return list, nil
	case '{':
		if v, err := s.KombuValue(); v != nil || err != nil {
			return v, err
		}
		return parseDict(s)
	case '"':
		text, _ := s.Text()
		return string(text), nil
	}
	var v any
	if err := pyjson.Unmarshal(s.Value(), &v); err != nil {
		return nil, err
	}
	return v, nil
}

func parseDict(s *pyjson.Scanner) (any, error) {
	dict := &Dict{}
	s.Enter('{')
	for s.Next() {
		key := string(s.Key())
		value, err := parse(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		dict.Set(key, value)
	}
	return dict, nil
}
