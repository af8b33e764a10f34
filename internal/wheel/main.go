// Command apium, as Python's package index has it (scripts/wheel): no Go tasks of its own, for
// apps whose tasks are in Python.
package main

import (
	"github.com/apium/apium/cli"
	"github.com/apium/apium/tasks"
)

func main() { cli.Main(tasks.NewRegistry()) }
