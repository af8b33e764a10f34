package main

import (
	"fmt"

	"github.com/gocelery/gocelery"
)

// multiply is a task as gocelery's users write them.
type multiply struct{ a, b int }

var _ gocelery.CeleryTask = (*multiply)(nil)

func (m *multiply) ParseKwargs(kwargs map[string]interface{}) error {
	for name, field := range map[string]*int{"a": &m.a, "b": &m.b} {
		value, ok := kwargs[name].(float64)
		if !ok {
			return fmt.Errorf("malformed kwarg %s", name)
		}
		*field = int(value)
	}
	return nil
}

func (m *multiply) RunTask() (interface{}, error) { return m.a * m.b, nil }

func registerGocelery(reg registrar) {
	reg.Register("worker.multiply", &multiply{})
	// What gocelery's users register as a plain function.
	reg.Register("worker.add", func(a, b int) int { return a + b })
}
