package pyjson

// AppendString appends s as Python's json writes a str: see [Append].
func AppendString(dst []byte, s string) []byte { return appendString(dst, s) }

// AppendComma appends what comes before one more element of the array, or member of the
// object, that dst ends in: a comma and a space, or nothing before the first one.
//
//	dst = append(dst, '[')
//	for _, v := range list {
//		dst = appendItem(pyjson.AppendComma(dst), v)
//	}
//	dst = append(dst, ']')
//
// [AppendArray] does this where the elements are JSON already.
func AppendComma(dst []byte) []byte {
	if n := len(dst); n == 0 || dst[n-1] == '[' || dst[n-1] == '{' { // no value ends like this
		return dst
	}
	return append(dst, ", "...)
}

// AppendKey appends the name of one more member of the object that dst ends in, up to its
// value: with [AppendComma] before it and a colon and a space behind it.
//
//	dst = append(dst, '{')
//	for name, raw := range members {
//		dst = append(pyjson.AppendKey(dst, name), raw...)
//	}
//	dst = append(dst, '}')
func AppendKey(dst []byte, name string) []byte {
	return append(appendString(AppendComma(dst), name), ": "...)
}

// AppendArray appends an array of values that are JSON already.
func AppendArray[T ~[]byte](dst []byte, raws []T) []byte {
	dst = append(dst, '[')
	for _, raw := range raws {
		dst = append(AppendComma(dst), raw...)
	}
	return append(dst, ']')
}
