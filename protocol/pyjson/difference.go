package pyjson

import (
	"bytes"
	"math"
	"math/big"
	"slices"
	"strconv"
)

// Difference finds the first place in which two JSON values are not equal to who reads them with Python's json and compares them
// with ==: numbers by their values, so that 1 is 1.0, objects whatever the order of their members. Other than there, true is no 1,
// and NaN is NaN.
//
// where is the place as Python would write it behind the value: "" is the whole, ['total'] a member, [2] an element. inA and inB
// are what stands there; nil: nothing does. equal tells that there is no such place. Both values must be valid.
func Difference(a, b []byte) (where string, inA, inB []byte, equal bool) {
	a, b = bytes.TrimSpace(a), bytes.TrimSpace(b)
	kind := Kind(a)
	switch {
	case bytes.Equal(a, b):
		return "", nil, nil, true
	case kind != Kind(b):
	case kind == '0':
		equal = sameNumber(a, b)
	case kind == '"':
		equal = Text(a) == Text(b)
	case kind == '[':
		return elementsDiffer(a, b)
	case kind == '{':
		return membersDiffer(a, b)
	}
	if equal {
		return "", nil, nil, true
	}
	return "", a, b, false
}

func elementsDiffer(a, b []byte) (where string, inA, inB []byte, equal bool) {
	ofA, ofB := Elements(a), Elements(b)
	for i := range max(len(ofA), len(ofB)) {
		place := "[" + strconv.Itoa(i) + "]"
		if i >= len(ofA) {
			return place, nil, ofB[i], false
		}
		if i >= len(ofB) {
			return place, ofA[i], nil, false
		}
		if where, inA, inB, equal = Difference(ofA[i], ofB[i]); !equal {
			return place + where, inA, inB, false
		}
	}
	return "", nil, nil, true
}

func membersDiffer(a, b []byte) (where string, inA, inB []byte, equal bool) {
	ofA, namesA := membersOf(a)
	ofB, namesB := membersOf(b)
	for _, name := range namesA {
		place := "['" + name + "']"
		inB, both := ofB[name]
		if !both {
			return place, ofA[name], nil, false
		}
		if where, inA, inB, equal := Difference(ofA[name], inB); !equal {
			return place + where, inA, inB, false
		}
	}
	for _, name := range namesB {
		if _, both := ofA[name]; !both {
			return "['" + name + "']", nil, ofB[name], false
		}
	}
	return "", nil, nil, true
}

// membersOf are the members of an object, of several of one name the last, and their names in order.
func membersOf(raw []byte) (members map[string][]byte, names []string) {
	members = map[string][]byte{}
	for name, value := range Members(raw) {
		members[name] = value
		names = append(names, name)
	}
	slices.Sort(names)
	return members, slices.Compact(names)
}

func sameNumber(a, b []byte) bool {
	intA, isA := new(big.Int).SetString(string(a), 10)
	intB, isB := new(big.Int).SetString(string(b), 10)
	switch {
	case isA && isB:
		return intA.Cmp(intB) == 0
	case isA:
		return isInteger(float(b), intA)
	case isB:
		return isInteger(float(a), intB)
	}
	return float(a) == float(b) || math.IsNaN(float(a)) && math.IsNaN(float(b))
}

// float reads a number that is no integer; one that is too large is infinite, as in Python.
func float(raw []byte) float64 {
	f, _ := strconv.ParseFloat(string(raw), 64) // valid, or too large
	return f
}

func isInteger(f float64, i *big.Int) bool {
	if math.IsInf(f, 0) || math.IsNaN(f) || f != math.Trunc(f) {
		return false
	}
	of, _ := new(big.Float).SetFloat64(f).Int(nil)
	return of.Cmp(i) == 0
}
