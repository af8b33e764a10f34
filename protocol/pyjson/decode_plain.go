package pyjson

import (
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
)

func (d *decoder) bool() (bool, error) {
	end := 0
	switch d.peek() {
	case 't':
		end = skipWord(d.data, d.pos, "true")
	case 'f':
		end = skipWord(d.data, d.pos, "false")
	}
	if end == 0 {
		return false, d.mismatch(reflect.TypeFor[bool](), nil)
	}
	value := d.data[d.pos] == 't'
	d.pos = end
	return value, nil
}

// string takes a string, or a UUID as its text, which is what programs keep ids as.
func (d *decoder) string() (string, error) {
	text, ok, err := d.text()
	if ok || err != nil {
		return string(text), err
	}
	if d.peek() == '{' {
		start := d.pos
		x, err := d.special()
		if err != nil {
			return "", err
		}
		if u, ok := x.(UUID); ok {
			return u.String(), nil
		}
		d.pos = start
	}
	return "", d.mismatch(reflect.TypeFor[string](), nil)
}

// text takes a string; ok is false if the value ahead is none.
func (d *decoder) text() (text []byte, ok bool, err error) {
	if d.peek() != '"' {
		return nil, false, nil
	}
	end, plain, err := skipString(d.data, d.pos)
	if err != nil {
		return nil, false, err
	}
	text = d.data[d.pos+1 : end-1 : end-1]
	d.pos = end
	if !plain {
		text = unescape(text)
	}
	return text, true, nil
}

// number takes a number's text; ok is false if the value ahead is none, is a float
// where only an int will do, or is an int that Python does not read.
func (d *decoder) number(intOnly bool) (text []byte, float, ok bool) {
	end, float := skipNumber(d.data, d.pos)
	if end == 0 || float && intOnly || !float && end-d.pos > MaxIntDigits && checkDigits(d.data, d.pos, end) != nil {
		return nil, float, false
	}
	text = d.data[d.pos:end]
	d.pos = end
	return text, float, true
}

func (d *decoder) int() (int, error) {
	n, err := d.signed(strconv.IntSize, reflect.TypeFor[int]())
	return int(n), err
}

func (d *decoder) int64() (int64, error) { return d.signed(64, reflect.TypeFor[int64]()) }

func (d *decoder) signed(bits int, t reflect.Type) (int64, error) {
	start := d.pos
	text, _, ok := d.number(true)
	if !ok {
		return 0, d.mismatch(t, nil)
	}
	n, ok := parseInt(text)
	if !ok || n<<(64-bits)>>(64-bits) != n {
		d.pos = start
		return 0, d.mismatch(t, errRange(text))
	}
	return n, nil
}

func (d *decoder) unsigned(bits int, t reflect.Type) (uint64, error) {
	start := d.pos
	text, _, ok := d.number(true)
	if !ok {
		return 0, d.mismatch(t, nil)
	}
	n, err := strconv.ParseUint(string(text), 10, bits)
	if err != nil && string(text) != "-0" {
		d.pos = start
		return 0, d.mismatch(t, errRange(text))
	}
	return n, nil
}

// parseInt is false if the number is beyond int64.
func parseInt(text []byte) (n int64, ok bool) {
	if len(text) > 18 {
		n, err := strconv.ParseInt(string(text), 10, 64)
		return n, err == nil
	}
	digits := text
	if text[0] == '-' {
		digits = text[1:]
	}
	for _, c := range digits {
		n = n*10 + int64(c-'0')
	}
	if text[0] == '-' {
		n = -n
	}
	return n, true
}

func errRange(text []byte) error {
	if len(text) > 40 {
		return fmt.Errorf("%s… (%d digits) is out of range", text[:20], len(text))
	}
	return fmt.Errorf("%s is out of range", text)
}

func (d *decoder) float64() (float64, error) { return d.float(64, reflect.TypeFor[float64]()) }

// float reads any number. As in Python, a float literal too large is infinite
// but an int too large is an error; for float32 both are errors.
func (d *decoder) float(bits int, t reflect.Type) (float64, error) {
	start := d.pos
	text, float, ok := d.number(false)
	if !ok {
		return 0, d.mismatch(t, nil)
	}
	f, err := strconv.ParseFloat(string(text), bits)
	if errors.Is(err, strconv.ErrRange) && (!float || bits == 32) {
		d.pos = start
		return 0, d.mismatch(t, errRange(text))
	}
	return f, nil
}

// any reads a value of whatever kind: see [Unmarshal].
func (d *decoder) any() (any, error) {
	switch d.peek() {
	case '"':
		text, _, err := d.text()
		return string(text), err
	case '[':
		return d.list()
	case '{':
		if v, err := d.special(); v != nil || err != nil {
			return v, err
		}
		return d.members()
	case 't', 'f':
		return d.bool()
	case 'n':
		if d.null() {
			return nil, nil
		}
	}
	text, float, ok := d.number(false)
	switch {
	case !ok:
		_, err := d.raw()
		return nil, err
	case float:
		f, _ := strconv.ParseFloat(string(text), 64) // out of range is infinite
		return f, nil
	}
	if n, ok := parseInt(text); ok {
		return n, nil
	}
	n, _ := new(big.Int).SetString(string(text), 10)
	return n, nil
}

// list reads the array ahead.
func (d *decoder) list() ([]any, error) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	list := []any{}
	for {
		more, err := d.more(len(list) == 0, ']')
		if !more {
			return list, err
		}
		v, err := d.any()
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}

// members reads the object ahead, which is no __type__ object.
func (d *decoder) members() (map[string]any, error) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	dict := map[string]any{}
	for first := true; ; first = false {
		more, err := d.more(first, '}')
		if !more {
			return dict, err
		}
		key, err := d.key()
		if err != nil {
			return nil, err
		}
		name := string(key)
		if dict[name], err = d.any(); err != nil {
			return nil, err
		}
	}
}

// notMarker returns an error unless an ordinary object is ahead.
func (d *decoder) notMarker(t reflect.Type) error {
	if d.peek() != '{' {
		return d.mismatch(t, nil)
	}
	v, err := d.special()
	if v != nil {
		err = &TypeError{Type: t, Got: markerType(v)}
	}
	return err
}
