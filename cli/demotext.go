package cli

import (
	"fmt"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// pythonRepr writes a value as Python's repr.
func pythonRepr(value any) string {
	raw, err := pyjson.Append(nil, value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return protocol.SafeRepr(raw)
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

// farewell prints what a Python user pastes.
func (d *demo) farewell() {
	url := d.url
	if !d.keep {
		const port = "6390"
		url = "redis://127.0.0.1:" + port + "/0"
		fmt.Fprintf(d.out, "\nTo call this worker from Python, leave it running:\n\n    %s demo --keep --port %s\n", d.program, port)
	}
	fmt.Fprintf(d.out, `
Then, in Python:

    pip install "celery[redis]"

    from celery import Celery

    app = Celery("demo", broker=%[1]q, backend=%[1]q)

    @app.task(name="demo.add")
    def add(x, y): ...                                     # runs in Go

    add.delay(2, 3).get(timeout=10)                        # 5
    app.send_task("demo.fail", ["no tea left", "ValueError"]).get(timeout=10)   # raises it

`, url)
	if d.keep {
		fmt.Fprint(d.out, "Redis and worker are running. Ctrl-C ends them.\n\n")
	}
}
