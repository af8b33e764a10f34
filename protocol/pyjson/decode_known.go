package pyjson

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"reflect"
	"time"
)

// specialOr reads a T from a __type__ object, or from a string by parse.
func specialOr[T any](d *decoder, parse func(string) (T, error)) (T, error) {
	var zero T
	t := reflect.TypeFor[T]()
	start := d.pos
	switch d.peek() {
	case '{':
		v, err := d.special()
		if err != nil {
			return zero, err
		}
		if v, ok := v.(T); ok {
			return v, nil
		}
		d.pos = start
	case '"':
		text, _, err := d.text()
		if err != nil {
			return zero, err
		}
		v, err := parse(string(text))
		if err == nil {
			return v, nil
		}
		d.pos = start
		return zero, d.mismatch(t, err)
	}
	return zero, d.mismatch(t, nil)
}

func (d *decoder) time() (time.Time, error) {
	start := d.pos
	if d.peek() == '{' {
		v, err := d.special()
		if date, ok := v.(Date); ok && err == nil {
			return time.Date(date.Year, date.Month, date.Day, 0, 0, 0, 0, Naive), nil
		}
		d.pos = start
	}
	return specialOr(d, parseDatetime)
}

func (d *decoder) date() (Date, error) { return specialOr(d, parseDate) }

func (d *decoder) clock() (Clock, error) { return specialOr(d, parseTimeOfDay) }

func (d *decoder) decimal() (Decimal, error) {
	if text, _, ok := d.number(false); ok {
		return Decimal(text), nil
	}
	return specialOr(d, parseDecimal)
}

func (d *decoder) uuid() (UUID, error) { return specialOr(d, parseUUID) }

func (d *decoder) rawMessage() (json.RawMessage, error) {
	raw, err := d.raw()
	return append(json.RawMessage{}, raw...), err
}

func (d *decoder) jsonNumber() (json.Number, error) {
	text, _, ok := d.number(false)
	if !ok {
		return "", d.mismatch(reflect.TypeFor[json.Number](), nil)
	}
	return json.Number(text), nil
}

// duration reads seconds: JSON has no form for Python's timedelta, and seconds
// are what people send instead.
func (d *decoder) duration() (time.Duration, error) {
	start := d.pos
	seconds, err := d.float(64, reflect.TypeFor[time.Duration]())
	if err != nil {
		return 0, err
	}
	ns := math.Round(seconds * float64(time.Second))
	if math.IsNaN(ns) || math.Abs(ns) >= math.MaxInt64 {
		d.pos = start
		return 0, d.mismatch(reflect.TypeFor[time.Duration](), errors.New("out of range"))
	}
	return time.Duration(ns), nil
}

func bigIntCodec() *codec {
	return &codec{
		decode: func(d *decoder, v reflect.Value) error {
			text, _, ok := d.number(true)
			if !ok {
				return d.mismatch(v.Type(), nil)
			}
			v.Addr().Interface().(*big.Int).SetString(string(text), 10)
			return nil
		},
		encode: func(dst []byte, v reflect.Value, _ int) ([]byte, error) {
			return appendBigInt(dst, addressable(v).Interface().(*big.Int))
		},
	}
}

// bigFloatCodec reads ints exactly and floats as the float64 that Python has.
// There is nothing it could be written as: JSON's numbers end as float64.
func bigFloatCodec() *codec {
	c := &codec{decode: func(d *decoder, v reflect.Value) error {
		start := d.pos
		text, float, ok := d.number(false)
		if !ok {
			return d.mismatch(v.Type(), nil)
		}
		f := v.Addr().Interface().(*big.Float)
		if !float {
			n, _ := new(big.Int).SetString(string(text), 10)
			f.SetInt(n)
			return nil
		}
		d.pos = start
		x, err := d.float64()
		if math.IsNaN(x) {
			d.pos = start
			return d.mismatch(v.Type(), errors.New("NaN is out of range"))
		}
		f.SetFloat64(x)
		return err
	}}
	_, c.encode = unsupported(reflect.TypeFor[big.Float]())
	return c
}

// addressable returns a pointer to v, or to a copy of it.
func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v.Addr()
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}
