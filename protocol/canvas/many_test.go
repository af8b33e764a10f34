package canvas_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
)

// A signature in a message may have any number of options. It takes not much longer to
// deal with them than with as many arguments, which are not looked at.
func TestManyOptions(t *testing.T) {
	t.Parallel()
	const n = 20_000
	var many strings.Builder
	for i := range n {
		fmt.Fprintf(&many, `"k%d": 1, "k%d": 2, `, i, i)
	}
	object := "{" + many.String() + `"last": 1}`
	quickest := func(kwargs, options string) time.Duration {
		embed := protocol.Embed{Callbacks: fmt.Appendf(nil,
			`[{"task": "a", "args": [], "kwargs": %s, "options": %s, "subtask_type": null, "immutable": false}]`, kwargs, options)}
		best := time.Hour
		for range 3 {
			start := time.Now()
			if _, err := canvas.Follow(embed, json.RawMessage("1"), canvas.Environment{NewID: protocol.NewID}); err != nil {
				t.Fatal(err)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	var arguments, options time.Duration
	for range 10 { // the machine may be busy with something else for a while
		arguments, options = quickest(object, "{}"), quickest("{}", object)
		if options <= 250*arguments {
			return
		}
	}
	t.Errorf("%d options take %v, as many arguments %v", n, options, arguments)
}
