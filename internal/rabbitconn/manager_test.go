package rabbitconn

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/apium/apium/settings/connection"
)

// The management plugin is asked about the URL's virtual host, as the URL's user unless others are named.
func TestManager(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case user != "u" || password != "p@ss":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.EscapedPath() == "/api/queues/%2Fv":
			_, _ = w.Write([]byte(`[{"name": "a"}, {"name": "b", "new": 1}]`))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	host, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	cfg, err := Parse("amqp://u:p%40ss@"+host+":1//v", Options{})
	if err != nil {
		t.Fatal(err)
	}
	at := connection.Manager{Port: number(t, port)}
	var queues []struct{ Name string }
	if err := cfg.Manager(at).Get(t.Context(), "queues", nil, &queues); err != nil || len(queues) != 2 || queues[1].Name != "b" {
		t.Errorf("%v, %v", queues, err)
	}
	if err := cfg.Manager(at).Get(t.Context(), "nothing", nil, &queues); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("of what there is not: %v", err)
	}
	at.Password = "wrong"
	if err := cfg.Manager(at).Get(t.Context(), "queues", nil, &queues); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("with a wrong password: %v", err)
	}
	for url, want := range map[string]string{
		"amqp://h": "http://h:15672", "amqps://h:1": "https://h:15671", "amqp://[::1]": "http://[::1]:15672", "amqp://h;i": "http://h:15672",
	} {
		cfg, err := Parse(url, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.Manager(connection.Manager{}).String(); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}

func number(t *testing.T, text string) (n int) {
	t.Helper()
	for _, digit := range text {
		n = 10*n + int(digit-'0')
	}
	return n
}
