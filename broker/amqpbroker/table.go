package amqpbroker

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/apium/apium/internal/rabbitconn"
	"github.com/apium/apium/protocol/pyjson"
)

// table makes headers, a JSON object, into what py-amqp would send for them (amqp/serialization.py):
// a str is S, an int I or of 64 bits, a float d, a bool t, None V, a list A, a dict F, a datetime T,
// a Decimal D and bytes S. What py-amqp cannot send is an error that names it.
func table(headers []byte) (amqp.Table, error) {
	s := pyjson.NewScanner(headers)
	if s.Kind() != '{' {
		return nil, errors.New("not a JSON object")
	}
	t, err := tableAhead(&s)
	if err == nil {
		err = s.End()
	}
	return t, err
}

func tableAhead(s *pyjson.Scanner) (amqp.Table, error) {
	t := amqp.Table{}
	for s.Enter('{'); s.Next(); {
		name := string(s.Key())
		if len(name) > rabbitconn.LongestText {
			return nil, fmt.Errorf("the name %.40q… has %d bytes; AMQP allows for %d", name, len(name), rabbitconn.LongestText)
		}
		v, err := valueAhead(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		t[name] = v
	}
	return t, s.Err()
}

func valueAhead(s *pyjson.Scanner) (any, error) {
	switch s.Kind() {
	case '"':
		text, _ := s.Text()
		return string(text), s.Err()
	case '{':
		special, err := s.KombuValue()
		if special != nil || err != nil {
			return specialField(special, err)
		}
		return tableAhead(s)
	case '[':
		list := []any{}
		for s.Enter('['); s.Next(); {
			v, err := valueAhead(s)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, s.Err()
	case '0':
		return numberField(s.Value())
	case 't', 'f':
		return string(s.Value()) == "true", s.Err()
	}
	s.Value()
	return nil, s.Err()
}

func numberField(raw []byte) (any, error) {
	if raw == nil {
		return nil, errors.New("no number")
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return narrow(n), nil
	}
	if pyjson.PythonType(raw) == "int" {
		return nil, fmt.Errorf("the number %.40s does not fit into 64 bits", raw)
	}
	var f float64
	err := pyjson.Unmarshal(raw, &f)
	return f, err
}

// specialField is the field of a __type__ object.
func specialField(v any, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case time.Time:
		return v, nil
	case []byte:
		return string(v), nil
	case pyjson.Decimal:
		return decimalField(v)
	}
	return nil, fmt.Errorf("AMQP has no form for a %T", v)
}

func decimalField(d pyjson.Decimal) (any, error) {
	whole, fraction, _ := strings.Cut(string(d), ".")
	n, err := strconv.ParseInt(whole+fraction, 10, 32)
	if err != nil || len(fraction) > 255 {
		return nil, fmt.Errorf("the Decimal %.40s does not fit into 32 bits", string(d))
	}
	return amqp.Decimal{Scale: uint8(len(fraction)), Value: int32(n)}, nil
}

// order is that of Celery's headers; a table that was read has none.
var order = []string{
	"lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries", "timelimit", "root_id", "parent_id",
	"argsrepr", "kwargsrepr", "origin", "ignore_result", "replaced_task_nesting", "stamped_headers", "stamps", "compression",
}

// appendTable appends headers as a JSON object in which kombu's types are what py-amqp makes of them:
// Celery's in their order, others behind them in that of their names.
func appendTable(dst []byte, t amqp.Table) []byte {
	dst = append(dst, '{')
	known := 0
	for _, name := range order {
		if v, ok := t[name]; ok {
			dst = appendField(pyjson.AppendKey(dst, name), v)
			known++
		}
	}
	if known == len(t) {
		return append(dst, '}')
	}
	others := make([]string, 0, len(t)-known)
	for name := range t {
		if !slices.Contains(order, name) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	for _, name := range others {
		dst = appendField(pyjson.AppendKey(dst, name), t[name])
	}
	return append(dst, '}')
}

func appendField(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case string:
		if !utf8.ValidString(v) { // py-amqp makes bytes of it
			return appendSpecial(dst, []byte(v))
		}
		return pyjson.AppendString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case int8:
		return strconv.AppendInt(dst, int64(v), 10)
	case byte:
		return strconv.AppendInt(dst, int64(v), 10)
	case int16:
		return strconv.AppendInt(dst, int64(v), 10)
	case uint16:
		return strconv.AppendInt(dst, int64(v), 10)
	case int32:
		return strconv.AppendInt(dst, int64(v), 10)
	case uint32:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case amqp.Table:
		return appendTable(dst, v)
	case []any:
		dst = append(dst, '[')
		for _, element := range v {
			dst = appendField(pyjson.AppendComma(dst), element)
		}
		return append(dst, ']')
	case float32:
		return appendSpecial(dst, float64(v))
	case time.Time:
		return appendSpecial(dst, v.In(pyjson.Naive))
	case amqp.Decimal:
		return appendSpecial(dst, decimalOf(v))
	}
	return appendSpecial(dst, v) // float64, []byte
}

// appendSpecial appends what pyjson has a form for. A time beyond Python's last year has none.
func appendSpecial(dst []byte, v any) []byte {
	encoded, err := pyjson.Append(dst, v)
	if err != nil {
		return append(dst, "null"...)
	}
	return encoded
}

// decimalOf divides as py-amqp does, without zeros at the end.
func decimalOf(d amqp.Decimal) pyjson.Decimal {
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.Scale)), nil)
	text := new(big.Rat).SetFrac(big.NewInt(int64(d.Value)), power).FloatString(int(d.Scale))
	if d.Scale > 0 {
		text = string(bytes.TrimRight(bytes.TrimRight([]byte(text), "0"), "."))
	}
	return pyjson.Decimal(text)
}
