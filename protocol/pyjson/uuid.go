package pyjson

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// UUID is a Python uuid.UUID.
type UUID [16]byte

// String returns the 36 character form.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

var errUUID = errors.New("badly formed hexadecimal UUID string")

// parseUUID reads the forms that Python's uuid.UUID does: with and without
// hyphens, braces and urn:uuid:.
func parseUUID(s string) (u UUID, err error) {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "urn:", ""), "uuid:", "")
	s = strings.ReplaceAll(strings.Trim(s, "{}"), "-", "")
	if len(s) != 2*len(u) {
		return u, errUUID
	}
	if _, err := hex.Decode(u[:], []byte(s)); err != nil {
		return UUID{}, errUUID
	}
	return u, nil
}

// uuidOf makes a UUID of the keyword arguments of Python's uuid.UUID: kombu 5.3.0 writes
// hex and version, later ones hex alone.
func uuidOf(v any) (any, error) {
	args, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("it must be a dict")
	}
	var u UUID
	given := 0
	for name, arg := range args {
		read := uuidForms[name]
		switch {
		case name == "version" || name == "is_safe" && arg == nil:
			continue
		case read == nil:
			return nil, fmt.Errorf("UUID() got an unexpected keyword argument '%s'", name)
		case arg == nil:
			continue
		}
		given++
		var err error
		if u, err = read(arg); err != nil {
			return nil, err
		}
	}
	if given != 1 {
		return nil, errors.New("one of the hex, bytes, bytes_le, fields, or int arguments must be given")
	}
	return u.withVersion(args["version"])
}

// uuidForms are the ways to say which UUID it is. Python also takes is_safe, which JSON
// cannot express.
var uuidForms = map[string]func(any) (UUID, error){
	"hex": func(v any) (UUID, error) {
		s, ok := v.(string)
		if !ok {
			return UUID{}, errors.New("hex must be a str")
		}
		return parseUUID(s)
	},
	"bytes": uuidOfBytes,
	"bytes_le": func(v any) (UUID, error) {
		u, err := uuidOfBytes(v)
		u[0], u[1], u[2], u[3] = u[3], u[2], u[1], u[0]
		u[4], u[5], u[6], u[7] = u[5], u[4], u[7], u[6]
		return u, err
	},
	"int": func(v any) (u UUID, err error) { return u, fillInt(u[:], v) },
	"fields": func(v any) (u UUID, err error) {
		list, ok := v.([]any)
		ends := []int{4, 6, 8, 9, 10, 16}
		if !ok || len(list) != len(ends) {
			return u, errors.New("fields is not a 6-tuple")
		}
		from := 0
		for i, to := range ends {
			if err := fillInt(u[from:to], list[i]); err != nil {
				return u, fmt.Errorf("field %d: %w", i+1, err)
			}
			from = to
		}
		return u, nil
	},
}

func uuidOfBytes(v any) (u UUID, err error) {
	b, ok := v.([]byte)
	if !ok || len(b) != len(u) {
		return u, errors.New("bytes is not a 16-char string")
	}
	return UUID(b), nil
}

// fillInt writes an int in big-endian order.
func fillInt(dst []byte, v any) error {
	n := new(big.Int)
	switch v := v.(type) {
	case int64:
		n.SetInt64(v)
	case *big.Int:
		n = v
	default:
		return errors.New("it must be an int")
	}
	if n.Sign() < 0 || n.BitLen() > 8*len(dst) {
		return fmt.Errorf("int is out of range (need a %d-bit value)", 8*len(dst))
	}
	n.FillBytes(dst)
	return nil
}

// withVersion sets the version and the variant of RFC 9562, unless version is None.
func (u UUID) withVersion(version any) (any, error) {
	if version == nil {
		return u, nil
	}
	n, ok := version.(int64)
	if !ok || n < 1 || n > 8 {
		return nil, errors.New("illegal version number")
	}
	u[6] = u[6]&0x0f | byte(n)<<4
	u[8] = u[8]&0x3f | 0x80
	return u, nil
}
