package pickle

import (
	"math/big"

	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer/plain"
)

// constructors is the list of all names that stand for plain data. What has no
// function may only be named, as the factory of a defaultdict.
var constructors = map[string]constructor{
	"datetime.datetime":  newDatetime,
	"datetime.date":      newDate,
	"datetime.time":      newTime,
	"datetime.timedelta": newTimedelta,

	// Zones, which are used up by the datetimes they belong to.
	"datetime.timezone":           newTimezone,
	"zoneinfo.ZoneInfo":           newZoneInfo,
	"zoneinfo.ZoneInfo._unpickle": newZoneInfo,
	"backports.zoneinfo.ZoneInfo": newZoneInfo,
	"builtins.getattr":            getattr, // of ZoneInfo._unpickle, in protocols before 4
	"pytz._UTC":                   newUTC,
	"pytz._p":                     newPytz,
	"pytz._FixedOffset":           newPytzFixed,
	"pytz.FixedOffset":            newPytzFixed,
	"dateutil.tz.tz.tzutc":        newUTC,
	"dateutil.tz.tzutc":           newUTC,
	"django.utils.timezone.UTC":   newUTC,

	"copyreg._reconstructor":        reconstruct,
	"copyreg.__newobj__":            newObject,
	"decimal.Decimal":               newDecimal,
	"uuid.UUID":                     newUUID,
	"uuid.SafeUUID":                 first,
	"_codecs.encode":                encodeText,
	"builtins.bytes":                newBytes,
	"builtins.bytearray":            newBytes,
	"builtins.set":                  newList,
	"builtins.frozenset":            newList,
	"builtins.list":                 newList,
	"builtins.tuple":                newList,
	"builtins.dict":                 newDict,
	"collections.deque":             newList,
	"collections.OrderedDict":       newDict,
	"collections.Counter":           newDict,
	"collections.defaultdict":       newDefaultDict,
	"celery.canvas.signature":       newDict, // what signatures are pickled as
	"celery.canvas.subtask":         newDict, // in Celery 3.1
	"celery.canvas.maybe_signature": newDict,
	"celery.canvas.Signature":       newDict,
	"celery.canvas._chain":          newDict,
	"celery.canvas.chain":           newDict,
	"celery.canvas.group":           newDict,
	"celery.canvas._chord":          newDict,
	"celery.canvas.chord":           newDict,
	"celery.canvas._basemap":        newDict,
	"celery.canvas.xmap":            newDict,
	"celery.canvas.xstarmap":        newDict,
	"celery.canvas.chunks":          newDict,

	"builtins.object": nil, "builtins.int": nil, "builtins.long": nil, "builtins.float": nil,
	"builtins.bool": nil, "builtins.str": nil, "builtins.unicode": nil,
}

func errArguments(name string) error { return failf("unexpected arguments for %s", name) }

func first(_ *reader, args []any) (any, error) {
	if len(args) == 0 {
		return nil, nil
	}
	return args[0], nil
}

// newList copies the list that a set or the like is made of.
func newList(r *reader, args []any) (any, error) {
	if len(args) == 0 {
		return &plain.List{}, nil
	}
	list, ok := args[0].(*plain.List)
	if !ok || len(args) > 2 { // the second one is a deque's length
		return nil, errArguments("a list")
	}
	n := len(list.Items)
	return &plain.List{Items: list.Items[:n:n]}, nil
}

// newDict copies the dict, or the list of pairs, that a kind of dict is made of.
func newDict(r *reader, args []any) (any, error) {
	if len(args) == 0 {
		return &plain.Dict{}, nil
	}
	switch from := args[0].(type) {
	case *plain.Dict:
		n := len(from.Keys)
		return &plain.Dict{Keys: from.Keys[:n:n], Values: from.Values[:n:n]}, nil
	case *plain.List:
		if err := r.charge(len(from.Items)); err != nil {
			return nil, err
		}
		dict := &plain.Dict{}
		for _, item := range from.Items {
			pair, ok := item.(*plain.List)
			if !ok || len(pair.Items) != 2 {
				return nil, errArguments("a dict")
			}
			dict.Set(pair.Items[0], pair.Items[1])
		}
		return dict, nil
	}
	return nil, errArguments("a dict")
}

func newDefaultDict(r *reader, args []any) (any, error) {
	return newDict(r, args[min(1, len(args)):]) // behind the factory
}

// reconstruct is copyreg's way to make an object in protocols 0 and 1:
// (class, base class, the base's value).
func reconstruct(r *reader, args []any) (any, error) {
	if len(args) != 3 {
		return nil, errArguments("copyreg._reconstructor")
	}
	if args[2] == nil {
		return r.call(args[0], nil)
	}
	return r.call(args[0], args[2:])
}

func newObject(r *reader, args []any) (any, error) {
	if len(args) == 0 {
		return nil, errArguments("copyreg.__newobj__")
	}
	return r.call(args[0], args[1:])
}

// getattr knows one attribute: the function that makes a ZoneInfo.
func getattr(_ *reader, args []any) (any, error) {
	if len(args) == 2 && text(args[1]) == "_unpickle" {
		if c, ok := args[0].(*class); ok && c.name == "ZoneInfo" {
			return &class{c.module, "ZoneInfo._unpickle", newZoneInfo}, nil
		}
	}
	return nil, notPlain("builtins.getattr")
}

func newDecimal(_ *reader, args []any) (any, error) {
	if len(args) == 1 {
		if digits := text(args[0]); digits != "" {
			return pyjson.Decimal(digits), nil
		}
	}
	return nil, errArguments("decimal.Decimal")
}

func newUUID(_ *reader, args []any) (any, error) {
	if len(args) == 0 {
		return &uuid{}, nil
	}
	var id pyjson.UUID
	quoted, err := pyjson.Append(nil, text(args[0]))
	if err == nil {
		err = pyjson.Unmarshal(quoted, &id)
	}
	if err != nil {
		return nil, errArguments("uuid.UUID")
	}
	return id, nil
}

// encodeText is how protocols before 3 write bytes: as Latin-1 text.
func encodeText(r *reader, args []any) (any, error) {
	if len(args) != 2 {
		return nil, errArguments("_codecs.encode")
	}
	if charset := text(args[1]); charset != "latin1" && charset != "latin-1" {
		return nil, errArguments("_codecs.encode")
	}
	return latin1(r, args[0])
}

func latin1(r *reader, v any) (any, error) {
	s := text(v)
	if err := r.charge(len(s) / 16); err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(s))
	for _, c := range s {
		if c > 0xff {
			return nil, failf("bytes above 255")
		}
		b = append(b, byte(c))
	}
	return b, nil
}

// newBytes takes bytes, or the text and the charset that protocol 2 has for a bytearray.
func newBytes(r *reader, args []any) (any, error) {
	switch len(args) {
	case 0:
		return []byte{}, nil
	case 1:
		switch v := args[0].(type) {
		case []byte:
			return v, nil
		case str8:
			return []byte(v), nil
		}
	case 2:
		return encodeText(r, args)
	}
	return nil, errArguments("bytes")
}

func bigInt(v any) (*big.Int, bool) {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v), true
	case *big.Int:
		return v, true
	}
	return nil, false
}
