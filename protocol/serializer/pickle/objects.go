package pickle

import (
	"slices"
	"strings"

	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/protocol/serializer/plain"
)

// class is a name that a pickle refers to: of a class, a function, a constant.
type class struct {
	module, name string
	build        constructor // nil: only to be named, or in a record that of an exception
}

// constructor makes the value that a call of a class stands for.
type constructor func(r *reader, args []any) (any, error)

func (c *class) String() string { return c.module + "." + c.name }

// Plain refuses it: a class is no value.
func (c *class) Plain() (any, error) { return nil, notPlain(c.String()) }

// stepObject carries out opcodes that build objects in Python.
func (r *reader) stepObject(op byte) error {
	switch op {
	case opGlobal:
		return r.push(r.writtenGlobal())
	case opStackGlobal:
		name, err := r.pop()
		if err != nil {
			return err
		}
		module, err := r.pop()
		if err != nil {
			return err
		}
		return r.push(r.global(text(module), text(name)))
	case opReduce, opNewObj:
		return r.reduce()
	case opNewObjEx:
		kwargs, err := r.pop()
		if dict, ok := kwargs.(*plain.Dict); err == nil && (!ok || len(dict.Keys) > 0) {
			err = failf("an object with keyword arguments is not plain data")
		}
		if err != nil {
			return err
		}
		return r.reduce()
	case opObj, opInst:
		return r.instance(op)
	case opBuild:
		return r.build()
	}
	return failf("opcode %q at %d is not for plain data", op, r.pos-1)
}

// instance makes an object of everything above the last mark. The class of INST is in
// the text, that of OBJ comes first.
func (r *reader) instance(op byte) error {
	var c any
	if op == opInst {
		var err error
		if c, err = r.writtenGlobal(); err != nil {
			return err
		}
	}
	items, err := r.popMark()
	if err != nil {
		return err
	}
	if op == opObj {
		if len(items) == 0 {
			return failf("an object without a class")
		}
		c, items = items[0], items[1:]
	}
	return r.push(r.call(c, slices.Clone(items)))
}

// renamed are modules whose names Python 2 and 3 write differently.
var renamed = map[string]string{"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins", "UserDict": "collections", "UserList": "collections"}

// writtenGlobal looks up a name that stands in the text: a line for its module, one for it.
func (r *reader) writtenGlobal() (any, error) {
	module, err := r.line()
	if err != nil {
		return nil, err
	}
	name, err := r.line()
	if err != nil {
		return nil, err
	}
	return r.global(module, name)
}

// global looks a name up. A name that stands for no plain data is refused right here,
// whatever the pickle would do with it.
func (r *reader) global(module, name string) (any, error) {
	if now, ok := renamed[module]; ok {
		module = now
	}
	full := module + "." + name
	if build, ok := constructors[full]; ok {
		return &class{module, name, build}, nil
	}
	if r.exceptions && module != "" && name != "" {
		return &class{module, name, nil}, nil
	}
	return nil, notPlain(full)
}

func (r *reader) reduce() error {
	args, err := r.pop()
	if err != nil {
		return err
	}
	f, err := r.pop()
	if err != nil {
		return err
	}
	list, ok := args.(*plain.List)
	if !ok {
		return failf("arguments that are no tuple")
	}
	return r.push(r.call(f, list.Items))
}

func (r *reader) call(f any, args []any) (any, error) {
	c, ok := f.(*class)
	switch {
	case !ok:
		return nil, failf("a call of what is no class")
	case c.build != nil:
		return c.build(r, args)
	case r.exceptions:
		return &exception{class: c, args: &plain.List{Items: args[:len(args):len(args)]}}, nil
	}
	return nil, notPlain(c.String())
}

// build gives the object on top of the stack its state.
func (r *reader) build() error {
	state, err := r.pop()
	if err != nil {
		return err
	}
	v, err := r.top()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case *uuid:
		v.state = state
		return nil
	case *exception, *zone:
		return nil // what it adds is not in the record, nor in the offset
	case *plain.List, *plain.Dict:
		if state == nil {
			return nil // a deque's
		}
	}
	return failf("an object with attributes is not plain data")
}

// uuid is a uuid.UUID between its making and its state.
type uuid struct{ state any }

func (u *uuid) Plain() (any, error) {
	state, ok := u.state.(*plain.Dict)
	if !ok {
		return nil, failf("a UUID without a value")
	}
	n, ok := bigInt(state.Get("int"))
	if !ok || n.Sign() < 0 || n.BitLen() > 128 {
		return nil, failf("a UUID without a value")
	}
	var id pyjson.UUID
	n.FillBytes(id[:])
	return id, nil
}

// text returns what a str says, else "".
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case str8:
		return strings.ToValidUTF8(string(v), "\ufffd")
	}
	return ""
}
