// Package pyjson reads and writes JSON as the Python side does: Python's json
// module together with the __type__ objects of kombu.utils.json.
//
// It differs from encoding/json where Python does. NaN, Infinity and -Infinity
// are numbers; integers have up to 4300 digits and stay apart from floats (2 is an int,
// 2.0 a float, on both ways); lone surrogates are allowed; text is written in
// ASCII with ", " and ": " between the parts. A datetime, date, time, Decimal,
// UUID or bytes value travels as {"__type__": …, "__value__": …} and has a Go
// type here.
//
// Three levels, cheapest first: [Scanner] walks a document once and hands out
// sub-slices of it, [Unmarshal] fills Go values, [Append] writes them. [RegisterType] adds
// types to them. [Members], [Elements] and [Member] are for objects and arrays of which one
// level counts; [AppendKey], [AppendComma] and [AppendArray] write them of parts.
package pyjson
