package cli

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	ready := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(ready)
		}
		_, _ = w.Write([]byte("answer of " + r.URL.Path + "\n"))
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	everywhere := strings.Replace(addr, "127.0.0.1", "0.0.0.0", 1)
	nobody := "127.0.0.1:1"
	for _, test := range []struct {
		ready  int
		args   []string
		status int
		output string
	}{
		{200, []string{"--metrics-addr", addr}, exitOK, "answer of /readyz"},
		{200, []string{"--metrics-addr", everywhere}, exitOK, "answer of /readyz"},
		{200, []string{"--metrics-addr", strings.TrimPrefix(addr, "127.0.0.1")}, exitOK, "answer of /readyz"},
		{503, []string{"--metrics-addr", addr}, exitFailure, "503 Service Unavailable: answer of /readyz"},
		{503, []string{"--metrics-addr", addr, "--live"}, exitOK, "answer of /livez"},
		{200, []string{"--metrics-addr", nobody}, exitUnavailable, "connection refused"},
		{200, []string{"--metrics-addr", "web1"}, exitUsage, "Invalid value for '--metrics-addr'"},
		{200, []string{"web1"}, exitUsage, ""},
	} {
		ready = test.ready
		status, stdout, stderr := call(t, append([]string{"health"}, test.args...)...)
		if status != test.status || !strings.Contains(stdout+stderr, test.output) {
			t.Errorf("%v of one that says %d: status %d, want %d with %q\n%s%s", test.args, test.ready, status, test.status, test.output, stdout, stderr)
		}
	}
}
