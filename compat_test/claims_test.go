package compat_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// claimsOfDriver has python/driver/claims.py share a chord with a backend that writes down what it is asked, and prints what it and the page heard.
const claimsOfDriver = `
import sys, types
driver = types.ModuleType("apium_driver")
driver.__path__ = [sys.argv[1]]
sys.modules["apium_driver"] = driver
from apium_driver import claims
claims.is_plain_redis = lambda backend: True
heard = []

class Backend:
    claimed = 1
    @property
    def _chord_part_return_script(self):
        return lambda keys, args, client: heard.append(("count for", args[6])) or (2, 0, 2, self.claimed)
    @property
    def _chord_claim_extend_script(self):
        return lambda keys, args, client: heard.append(("extend for", args[1]))
    @property
    def _chord_cleanup_script(self):
        return lambda keys, args, client: heard.append("ended") or 1
    def on_chord_part_return(self, request, state, result):
        heard.append("counted by Celery")
    def encode_result(self, result, state):
        return result
    def encode(self, result):
        return repr(result)

class Inherits(Backend):
    pass

class Page:
    def claim(self, n):
        heard.append(("page", n))

backend, other = Inherits(), Inherits()
current = types.SimpleNamespace(claims=False, ending=None, ended=None, job=1, task_id="t", part=None)
app = types.SimpleNamespace(backend=backend, amqp=types.SimpleNamespace(_retry_publish=lambda *args: heard.append("published") or "answer"))
claims.share(app, current, Page(), 3.5)
args = list(range(6)) + [21, "token"]
keys = list("jtsdgc")
end = lambda: backend._chord_cleanup_script(keys=[], args=["token", 300], client=None)
count = lambda: backend._chord_part_return_script(keys=keys, args=args, client=None)
count()                                          # claims it
backend._chord_claim_extend_script(keys=[], args=["token", 40], client=None)
heard.append(app.amqp._retry_publish("body"))
end()
count()
current.ending.done = True                       # it has come with its body
end()
app.amqp._retry_publish("body")
end()
app.amqp._retry_publish("something else")        # which no claim ends with
other.claimed = 0
other._chord_part_return_script(keys=keys, args=args, client=None)
for redelivered, task in (False, "t"), (True, "another"), (True, "t"):
    request = types.SimpleNamespace(id=task, group="g", delivery_info={"redelivered": redelivered})
    backend.on_chord_part_return(request, "SUCCESS", 7)
    heard.append(current.part)
print(heard)
`

// TestClaimsOfTheDriver: a claim that Celery's code makes in a child lasts no longer than the worker's own, the page tells of it from before it is
// made until the body is published or somebody else has it, and a part that comes again is left to the worker.
func TestClaimsOfTheDriver(t *testing.T) {
	t.Parallel()
	driver, err := filepath.Abs("../python/driver")
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{celery57, celery52, celery44} {
		got := command(t, t.TempDir(), []string{"PYTHONDONTWRITEBYTECODE=1"}, interpreter(of), "-c", claimsOfDriver, driver)
		want := "[('page', 1), ('count for', 3), ('extend for', 3), 'published', ('page', 0), 'answer', 'ended', " +
			"('page', 1), ('count for', 3), 'published', ('page', 0), 'published', " +
			"('page', 1), ('count for', 3), ('page', 0), 'counted by Celery', None, 'counted by Celery', None, '7']"
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Celery %s (-want +got):\n%s", of, diff)
		}
	}
}
