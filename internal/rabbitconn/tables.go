package rabbitconn

import "encoding/binary"

// What the library takes of a table; it gives up the connection at more.
const (
	deepest = 32
	longest = 8192
)

// mendTable changes a table that has come so that the library can read it. 64 and 16 bit integers
// are in the letters that it knows: py-amqp writes L for l. A table that it would not take for another
// reason becomes one that has nothing but a member without a name, its bytes: so the message is one
// that nobody can read, and the connection lives.
func mendTable(table []byte) {
	if mendEntries(table, true, 0) || len(table) < 6 {
		return
	}
	table[0], table[1] = 0, 'x'
	binary.BigEndian.PutUint32(table[2:], uint32(len(table)-6)) //nolint:gosec // it is a part of a frame
}

// sizes of values by their letters; those of texts, tables and arrays are in front of them.
var sizes = map[byte]int{
	't': 1, 'b': 1, 'B': 1, 's': 2, 'u': 2, 'I': 4, 'i': 4, 'l': 8, 'f': 4, 'd': 8, 'D': 5, 'T': 8, 'V': 0,
}

// mendEntries walks through a table, or an array, and tells whether the library can read it.
func mendEntries(rest []byte, named bool, depth int) bool {
	if depth > deepest {
		return false
	}
	for n := 0; len(rest) > 0; n++ {
		if n >= longest {
			return false
		}
		if named {
			name := 1 + int(rest[0])
			if name >= len(rest) {
				return false
			}
			rest = rest[name:]
		}
		size, ok := mendValue(rest, depth)
		if !ok || size > len(rest) {
			return false
		}
		rest = rest[size:]
	}
	return true
}

// mendValue returns how many bytes a value has, with its letter.
func mendValue(value []byte, depth int) (size int, ok bool) {
	switch value[0] {
	case 'L':
		value[0] = 'l'
	case 'U':
		value[0] = 's'
	}
	letter := value[0]
	if size, ok := sizes[letter]; ok {
		return 1 + size, true
	}
	if len(value) < 5 {
		return 0, false
	}
	size = 5 + int(binary.BigEndian.Uint32(value[1:]))
	if size > len(value) {
		return 0, false
	}
	switch letter {
	case 'S', 'x':
		return size, true
	case 'F', 'A':
		return size, mendEntries(value[5:size], letter == 'F', depth+1)
	}
	return 0, false
}
