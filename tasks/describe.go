package tasks

import (
	"encoding/json"
	"reflect"
	"runtime"
)

// ParameterKind says how a parameter gets its argument, as inspect.Parameter.kind does in Python.
type ParameterKind int

// The kinds, in the order in which they come in a parameter list.
const (
	PositionalOnly      ParameterKind = iota // x, /
	PositionalOrKeyword                      // x
	VarPositional                            // *args
	KeywordOnly                              // *, x
	VarKeyword                               // **kwargs
)

// Parameter is one parameter of a task as Python sees it.
type Parameter struct {
	Name    string // "": it has none, and its argument comes by position
	Kind    ParameterKind
	Default json.RawMessage // nil: the parameter is required, or stands for any number of arguments
	Type    reflect.Type    // of what it binds to in Go, a slice for *args; nil: the handler reads it itself
}

// Signature is what a task takes and returns.
type Signature struct {
	Parameters []Parameter
	Result     reflect.Type // nil: none
	Function   string       // the Go function's name with its package; "": not known
}

// Signature returns what the task takes and returns. A Handler that reads its arguments
// itself is not known.
func (e *Entry) Signature() (sig Signature, known bool) {
	switch h := e.Handler.(type) {
	case *function:
		sig = h.describe()
		if f := runtime.FuncForPC(h.fn.Pointer()); f != nil {
			sig.Function = f.Name()
		}
		return sig, true
	case errback: // its function is made up
		return h.describe(), true
	case *celeryTaskHandler:
		if h.sig == nil { // by name, whatever comes
			return Signature{Parameters: []Parameter{{Name: "kwargs", Kind: VarKeyword}}, Result: anyType}, true
		}
		return Signature{Parameters: h.sig.parameters(func(slotOf) reflect.Type { return nil }), Result: anyType}, true
	}
	return Signature{}, false
}

var anyType = reflect.TypeFor[any]()

func (p *function) describe() Signature {
	sig := Signature{Parameters: p.sig.parameters(func(at slotOf) reflect.Type {
		switch at {
		case ofVarArgs:
			return p.typeOf(p.varArgs)
		case ofVarKw:
			return p.typeOf(p.varKw)
		default:
			return p.typeOf(p.named[at])
		}
	})}
	if p.output >= 0 {
		sig.Result = p.fn.Type().Out(p.output)
	}
	return sig
}

// slotOf names a parameter: its place in the names of a signature, or one of these.
type slotOf int

const (
	ofVarArgs slotOf = -1
	ofVarKw   slotOf = -2
)

// parameters lists the parameters in Python's order.
func (s *signature) parameters(typeOf func(slotOf) reflect.Type) (list []Parameter) {
	for i, name := range s.names {
		if i == s.pos && s.varArgs != "" {
			list = append(list, Parameter{Name: s.varArgs, Kind: VarPositional, Type: typeOf(ofVarArgs)})
		}
		p := Parameter{Name: name, Kind: PositionalOrKeyword, Default: s.defaults[i], Type: typeOf(slotOf(i))}
		switch {
		case s.unnamed:
			p.Name, p.Kind = "", PositionalOnly
		case i < s.posOnly:
			p.Kind = PositionalOnly
		case i >= s.pos:
			p.Kind = KeywordOnly
		}
		list = append(list, p)
	}
	if s.pos == len(s.names) && s.varArgs != "" {
		list = append(list, Parameter{Name: s.varArgs, Kind: VarPositional, Type: typeOf(ofVarArgs)})
	}
	if s.varKw != "" {
		list = append(list, Parameter{Name: s.varKw, Kind: VarKeyword, Type: typeOf(ofVarKw)})
	}
	return list
}
