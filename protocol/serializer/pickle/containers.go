package pickle

import (
	"slices"

	"github.com/apium/apium/protocol/serializer/plain"
)

// stepContainer carries out opcodes that fill lists and dicts, and the memo's.
func (r *reader) stepContainer(op byte) error {
	switch op {
	case opTuple, opList, opFrozenSet:
		items, err := r.popMark()
		return r.push(&plain.List{Items: slices.Clone(items)}, err)
	case opTuple1, opTuple2, opTuple3:
		return r.tuple(int(op) - opTuple1 + 1)
	case opDict:
		items, err := r.popMark()
		if err != nil {
			return err
		}
		dict := &plain.Dict{}
		if err := setItems(dict, items); err != nil {
			return err
		}
		return r.push(dict, nil)
	case opAppend:
		v, err := r.pop()
		if err != nil {
			return err
		}
		return r.extend(v)
	case opAppends, opAddItems:
		items, err := r.popMark()
		if err != nil {
			return err
		}
		return r.extend(items...)
	case opSetItem:
		value, err := r.pop()
		if err != nil {
			return err
		}
		key, err := r.pop()
		if err != nil {
			return err
		}
		return r.update(key, value)
	case opSetItems:
		items, err := r.popMark()
		if err != nil {
			return err
		}
		return r.update(items...)
	}
	return r.stepMemo(op)
}

func (r *reader) tuple(n int) error {
	list := &plain.List{Items: make([]any, n)}
	for i := range n {
		v, err := r.pop()
		if err != nil {
			return err
		}
		list.Items[n-1-i] = v
	}
	return r.push(list, nil)
}

// extend adds to the list or set on top of the stack.
func (r *reader) extend(items ...any) error {
	v, err := r.top()
	if err != nil {
		return err
	}
	list, ok := v.(*plain.List)
	if !ok {
		return failf("items for what is no list")
	}
	if cap(list.Items) < len(list.Items)+len(items) && len(list.Items) > len(items) {
		if err := r.charge(len(list.Items) / 8); err != nil { // it is copied
			return err
		}
	}
	list.Items = append(list.Items, items...)
	return nil
}

// update adds to the dict on top of the stack.
func (r *reader) update(items ...any) error {
	v, err := r.top()
	if err != nil {
		return err
	}
	dict, ok := v.(*plain.Dict)
	if !ok {
		return failf("members for what is no dict")
	}
	if cap(dict.Keys) < len(dict.Keys)+len(items)/2 && len(dict.Keys) > len(items) {
		if err := r.charge(len(dict.Keys) / 8); err != nil {
			return err
		}
	}
	return setItems(dict, items)
}

func setItems(dict *plain.Dict, items []any) error {
	if len(items)%2 != 0 {
		return failf("a key without a value")
	}
	for i := 0; i < len(items); i += 2 {
		dict.Set(items[i], items[i+1])
	}
	return nil
}

// stepMemo carries out opcodes that name values and call them by their names.
func (r *reader) stepMemo(op byte) error {
	var index int
	var err error
	switch op {
	case opMemoize:
		index = len(r.memo)
	case opPut, opGet:
		index, err = r.memoIndex()
	case opBinPut, opBinGet:
		n, e := r.uint(1)
		index, err = int(n), e //nolint:gosec // one byte
	case opLongBinPut, opLongBinGet:
		n, e := r.uint(4)
		index, err = int(n), e //nolint:gosec // four bytes
	default:
		return r.stepObject(op)
	}
	if err != nil {
		return err
	}
	switch op {
	case opGet, opBinGet, opLongBinGet:
		v, ok := r.memo[index]
		if !ok {
			return failf("nothing in the memo at %d", index)
		}
		return r.push(v, nil)
	}
	v, err := r.top()
	r.memo[index] = v
	return err
}
