package serializer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"

	"github.com/apium/apium/protocol/serializer/plain"
)

// maxDepth is how deep bodies may nest, as in pyjson.
const maxDepth = 1000

// loadMsgpack reads what msgpack.unpackb(raw=False) does. Timestamps become datetimes;
// other extension types are refused.
func loadMsgpack(data []byte) (any, error) {
	v, rest, err := unpack(data, 0)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes too many", len(rest))
	}
	if err != nil {
		return nil, fmt.Errorf("msgpack: %w", err)
	}
	return v, nil
}

func unpack(b []byte, depth int) (v any, rest []byte, err error) {
	if depth > maxDepth {
		return nil, nil, errors.New("nested too deep")
	}
	// str32 and bin32: where an int has 32 bits, the library would take their length for negative.
	if len(b) >= 5 && (b[0] == 0xdb || b[0] == 0xc6) && int64(binary.BigEndian.Uint32(b[1:])) > int64(len(b)) {
		return nil, nil, msgp.ErrShortBytes
	}
	switch msgp.NextType(b) {
	case msgp.NilType:
		rest, err = msgp.ReadNilBytes(b)
		return nil, rest, err
	case msgp.BoolType:
		return as(msgp.ReadBoolBytes(b))
	case msgp.IntType:
		return as(msgp.ReadInt64Bytes(b))
	case msgp.UintType:
		n, rest, err := msgp.ReadUint64Bytes(b)
		if n > 1<<63-1 {
			return new(big.Int).SetUint64(n), rest, err
		}
		return int64(n), rest, err //nolint:gosec // just checked
	case msgp.Float32Type:
		f, rest, err := msgp.ReadFloat32Bytes(b)
		return float64(f), rest, err
	case msgp.Float64Type:
		return as(msgp.ReadFloat64Bytes(b))
	case msgp.StrType:
		s, rest, err := msgp.ReadStringZC(b)
		if err == nil && !utf8.Valid(s) {
			err = errors.New("text that is not UTF-8")
		}
		return string(s), rest, err
	case msgp.BinType:
		return as(msgp.ReadBytesZC(b))
	case msgp.ArrayType:
		return unpackArray(b, depth)
	case msgp.MapType:
		return unpackMap(b, depth)
	default:
		return unpackExtension(b)
	}
}

// as makes a value of any type of what the library returns.
func as[T any](v T, rest []byte, err error) (any, []byte, error) { return v, rest, err }

// timestamps are the ways to write extension type -1: the first byte, and where the
// type is.
var timestamps = map[byte]int{0xd6: 1, 0xd7: 1, 0xc7: 2}

func unpackExtension(b []byte) (any, []byte, error) {
	if len(b) == 0 {
		return nil, nil, msgp.ErrShortBytes
	}
	const timestamp = 0xff
	if at := timestamps[b[0]]; at > 0 && at < len(b) && b[at] == timestamp {
		t, rest, err := msgp.ReadTimeBytes(b)
		return t.UTC(), rest, err
	}
	return nil, nil, fmt.Errorf("type 0x%02x is not plain data", b[0])
}

func unpackArray(b []byte, depth int) (any, []byte, error) {
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil {
		return nil, nil, err
	}
	if int64(n) > int64(len(b)) {
		return nil, nil, msgp.ErrShortBytes
	}
	list := &plain.List{}
	for range n {
		var item any
		if item, b, err = unpack(b, depth+1); err != nil {
			return nil, nil, err
		}
		list.Items = append(list.Items, item)
	}
	return list, b, nil
}

func unpackMap(b []byte, depth int) (any, []byte, error) {
	n, b, err := msgp.ReadMapHeaderBytes(b)
	if err != nil {
		return nil, nil, err
	}
	if int64(n) > int64(len(b)) {
		return nil, nil, msgp.ErrShortBytes
	}
	dict := &plain.Dict{}
	for range n {
		var key, value any
		if key, b, err = unpack(b, depth+1); err != nil {
			return nil, nil, err
		}
		switch key.(type) {
		case string, []byte:
		default: // strict_map_key
			return nil, nil, fmt.Errorf("a key that is neither str nor bytes but %T", key)
		}
		if value, b, err = unpack(b, depth+1); err != nil {
			return nil, nil, err
		}
		dict.Set(key, value)
	}
	return dict, b, nil
}

// dumpMsgpack writes what msgpack.packb(use_bin_type=True) does, and refuses what that
// refuses: datetimes, Decimals, UUIDs, ints of more than 64 bits.
func dumpMsgpack(v any) ([]byte, error) {
	data, err := pack(nil, v)
	if err != nil {
		return nil, fmt.Errorf("msgpack: %w", err)
	}
	return data, nil
}

// errSurrogates refuses a text with bytes that are no UTF-8, which in Python are lone
// surrogates.
var errSurrogates = errors.New("'utf-8' codec can't encode characters: surrogates not allowed")

func pack(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return msgp.AppendNil(dst), nil
	case bool:
		return msgp.AppendBool(dst, v), nil
	case int64:
		return msgp.AppendInt64(dst, v), nil
	case *big.Int:
		if !v.IsUint64() {
			return nil, errors.New("Integer value out of range") //nolint:staticcheck // Python's words
		}
		return msgp.AppendUint64(dst, v.Uint64()), nil
	case float64:
		return msgp.AppendFloat64(dst, v), nil
	case string:
		if !utf8.ValidString(v) {
			return nil, errSurrogates
		}
		return msgp.AppendString(dst, v), nil
	case []byte:
		return msgp.AppendBytes(dst, v), nil
	case *plain.List:
		dst = msgp.AppendArrayHeader(dst, uint32(len(v.Items))) //nolint:gosec // it was in memory as text
		for _, item := range v.Items {
			var err error
			if dst, err = pack(dst, item); err != nil {
				return nil, err
			}
		}
		return dst, nil
	case *plain.Dict:
		dst = msgp.AppendMapHeader(dst, uint32(len(v.Keys))) //nolint:gosec // it was in memory as text
		for i, key := range v.Keys {
			var err error
			if dst, err = pack(dst, key); err != nil {
				return nil, err
			}
			if dst, err = pack(dst, v.Values[i]); err != nil {
				return nil, err
			}
		}
		return dst, nil
	}
	return nil, fmt.Errorf("can not serialize '%s' object", pythonType(v))
}
