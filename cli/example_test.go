package cli_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/apium/apium/cli"
	"github.com/apium/apium/tasks"
)

// A program runs a worker as its command line would.
func ExampleRun() {
	reg := tasks.NewRegistry()
	reg.Register("shop.tasks.add", func(x, y int) int { return x + y }, tasks.Params("x, y"))
	err := cli.Run(context.Background(), reg, "worker", "--config", "celery.json", "-l", "INFO")
	var failed *cli.Error
	if errors.As(err, &failed) {
		fmt.Println(failed.ExitStatus, failed.Err)
	}
}
