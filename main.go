// Command apium serves the sample tasks. A program with tasks of its own looks
// just like it.
package main

import (
	"github.com/apium/apium/cli"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/sample"
)

func main() {
	reg := tasks.NewRegistry()
	sample.Register(reg)
	cli.Main(reg)
}
