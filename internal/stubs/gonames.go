package stubs

import (
	"go/token"
	"strings"
	"unicode"
	"unicode/utf8"
)

// goTaken are names that parameters must not hide: what the language has, and what functions use.
var goTaken = []string{
	"any", "bool", "byte", "comparable", "complex64", "complex128", "error", "float32", "float64", "int", "int8", "int16", "int32", "int64",
	"rune", "string", "uint", "uint8", "uint16", "uint32", "uint64", "uintptr", "true", "false", "iota", "nil", "append", "cap", "clear", "close",
	"complex", "copy", "delete", "imag", "len", "make", "max", "min", "new", "panic", "print", "println", "real", "recover",
	"context", "json", "errors", "fmt", "time", "pyjson", "tasks", "ctx", "req", "reg", "init", "main", "Register",
}

// initialisms are written in capitals in Go.
var initialisms = map[string]bool{
	"api": true, "cpu": true, "csv": true, "dns": true, "html": true, "http": true, "https": true, "id": true, "ip": true, "json": true,
	"sku": true, "sms": true, "sql": true, "tls": true, "ttl": true, "uid": true, "uri": true, "url": true, "utf8": true, "uuid": true, "xml": true,
}

// words splits a text into what can stand in a name.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) || r == unicode.ReplacementChar })
}

// exported makes an exported name of a text; other if nothing of it can be used.
func exported(text, other string) string {
	var name strings.Builder
	for _, word := range words(text) {
		if initialisms[strings.ToLower(word)] {
			word = strings.ToUpper(word)
		}
		first, size := utf8.DecodeRuneInString(word)
		name.WriteString(string(unicode.ToUpper(first)) + word[size:])
	}
	if name.Len() == 0 {
		return other
	}
	if first, _ := utf8.DecodeRuneInString(name.String()); !unicode.IsUpper(first) {
		return other + name.String()
	}
	return name.String()
}

// unexported makes a name of a parameter.
func unexported(text string) string {
	list := words(text)
	if len(list) == 0 {
		return "arg"
	}
	first, size := utf8.DecodeRuneInString(list[0])
	if list[0] == strings.ToUpper(list[0]) || initialisms[strings.ToLower(list[0])] {
		list[0] = strings.ToLower(list[0])
	} else {
		list[0] = string(unicode.ToLower(first)) + list[0][size:]
	}
	name := list[0]
	for _, word := range list[1:] {
		name += exported(word, "")
	}
	if first, _ := utf8.DecodeRuneInString(name); !unicode.IsLetter(first) {
		name = "arg" + name
	}
	return name
}

// parameterName takes a name for a parameter of a function.
func (n namer) parameterName(name string) string {
	name = unexported(name)
	if token.IsKeyword(name) {
		return n.take(name + "Arg")
	}
	return n.take(name, name+"Arg")
}

// functionNames are what the function of a task may be called, the shortest first.
func functionNames(task string) (names []string) {
	parts := strings.Split(task, ".")
	for i := len(parts) - 1; i >= 0; i-- {
		names = append(names, exported(strings.Join(parts[i:], " "), "Task"))
	}
	return names
}
