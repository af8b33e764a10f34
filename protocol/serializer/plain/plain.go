// Package plain holds the Python values that a message body may consist of, whatever
// serializer it was written with, and translates them from and to Python's JSON.
//
// Besides the types below these are nil, bool, int64, *big.Int, float64, string,
// []byte, and what pyjson has for Python's types: time.Time (a datetime; see
// pyjson.Naive), pyjson.Date, pyjson.Clock, pyjson.Decimal and pyjson.UUID.
package plain

// List is a Python list, tuple or set: JSON knows arrays only.
type List struct {
	Items []any
}

// Dict is a Python dict. Its members keep their order.
type Dict struct {
	Keys   []any // of equal length
	Values []any
}

// Set adds a member, also if there is one of that name: the last one counts.
func (d *Dict) Set(key, value any) {
	d.Keys, d.Values = append(d.Keys, key), append(d.Values, value)
}

// Get returns the value of a key that is a string; nil if there is none.
func (d *Dict) Get(name string) any {
	for i := len(d.Keys) - 1; i >= 0; i-- {
		key := d.Keys[i]
		if v, ok := key.(Value); ok {
			key, _ = v.Plain()
		}
		if key == any(name) {
			return d.Values[i]
		}
	}
	return nil
}

// Value is a value of another kind that stands for a plain one.
type Value interface {
	// Plain returns that value, or an error that says what cannot be translated.
	Plain() (any, error)
}
