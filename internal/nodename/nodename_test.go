package nodename_test

import (
	"testing"

	"github.com/apium/apium/internal/nodename"
)

func TestNodeName(t *testing.T) {
	t.Parallel()
	const host = "web1.example.com"
	for value, want := range map[string]string{
		"celery@%h": "celery@web1.example.com",
		"w1@%h":     "w1@web1.example.com",
		"w1@%n":     "w1@web1",
		"w1@%d":     "w1@example.com",
		"w1%%@x":    "w1%@x",
		"%n@x":      "web1@x",
		"w1":        "celery@w1", // as in Celery: without @ it is the host
		"w1@":       "w1@" + host,
		"@x":        "celery@x",
		"":          "celery@" + host,
		"a@%z%":     "a@%z%",
	} {
		if got := nodename.Of(value, host); got != want {
			t.Errorf("Of(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestNodePath(t *testing.T) {
	t.Parallel()
	const node = "w1@web1.example.com"
	for path, want := range map[string]string{
		"/var/log/%n.log":  "/var/log/w1.log",
		"/run/%p.pid":      "/run/w1@web1.example.com.pid",
		"%h-%d-%n%I-%i.%%": "web1.example.com-example.com-w1-0.%",
		"":                 "",
	} {
		if got := nodename.Path(path, node); got != want {
			t.Errorf("Path(%q) = %q, want %q", path, got, want)
		}
	}
}
