package control_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/tasks"
)

// A command of a program's own. In Python:
//
//	app.control.broadcast("set_level", {"level": "DEBUG"}, reply=True)
func ExampleWorker() {
	level := new(slog.LevelVar)
	reg := tasks.NewRegistry()
	reg.RegisterCommand("set_level", func(ctx context.Context, name string) (map[string]string, error) {
		if err := level.UnmarshalText([]byte(name)); err != nil {
			return nil, tasks.Raise("ValueError", err.Error())
		}
		return map[string]string{"ok": control.Worker(ctx).Hostname() + " logs " + level.String()}, nil
	}, tasks.Params("level"))
	_, ok := reg.LookupCommand("set_level")
	fmt.Println(ok)
	// Output: true
}
