package redisconn_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/settings/connection"
)

func parse(tb testing.TB, url string, opts redisconn.Options) *redisconn.Config {
	tb.Helper()
	cfg, err := redisconn.Parse(url, redisconn.Broker, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return cfg
}

func open(tb testing.TB, url string, opts redisconn.Options, popts redisconn.PipelineOptions) *redisconn.Pipeline {
	tb.Helper()
	p := redisconn.NewPipeline(parse(tb, url, opts), popts)
	tb.Cleanup(func() { p.Close() })
	return p
}

// plainAndSecure runs a test with a connection to a server of its own, and with one that speaks TLS: a Pipeline writes to both itself.
func plainAndSecure(t *testing.T, test func(t *testing.T, p *redisconn.Pipeline)) {
	t.Helper()
	t.Parallel()
	for name, urlOf := range map[string]func(*testing.T, *redistest.Server) string{
		"plain": func(_ *testing.T, s *redistest.Server) string { return s.URL(0) }, "TLS": secureURL,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, urlOf(t, redistest.Start(t)), redisconn.Options{}, redisconn.PipelineOptions{}))
		})
	}
}

// secureURL is that of something that speaks TLS for a server.
func secureURL(t *testing.T, s *redistest.Server) string {
	t.Helper()
	addr, _ := proxy(t, s, "localhost")
	return "rediss://" + addr + "/0?ssl_cert_reqs=none"
}

func TestEveryCallerGetsItsOwnReply(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := open(t, s.URL(3), redisconn.Options{}, redisconn.PipelineOptions{})
	var wg sync.WaitGroup
	for g := range 50 {
		wg.Go(func() {
			for i := range 200 {
				want := fmt.Sprint(g, " ", i)
				got, err := redis.String(p.Do(context.Background(), "ECHO", want))
				if err != nil || got != want {
					t.Errorf("ECHO %q: %q, %v", want, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestScript(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := open(t, s.URL(0), redisconn.Options{}, redisconn.PipelineOptions{})
	script := redisconn.NewScript(1, `return {KEYS[1], ARGV[1]}`)
	for range 3 {
		got, err := redis.Strings(p.Script(context.Background(), script, "k", "v"))
		if err != nil || fmt.Sprint(got) != "[k v]" {
			t.Fatalf("%v, %v", got, err)
		}
	}
}

func TestClientName(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	p := open(t, s.URL(3), redisconn.Options{Options: connection.Options{ClientName: "me"}}, redisconn.PipelineOptions{})
	if name, err := redis.String(p.Do(t.Context(), "CLIENT", "GETNAME")); name != "me" || err != nil {
		t.Errorf("CLIENT GETNAME: %q, %v", name, err)
	}
}

// A stream arrives as one argument among others, whatever others send meanwhile, and again when the command is sent again,
// as it is where the server does not know the script.
func TestStream(t *testing.T) { plainAndSecure(t, testStream) }

func testStream(t *testing.T, p *redisconn.Pipeline) {
	t.Helper()
	script := redisconn.NewScript(1, `return {KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]}`)
	part := bytes.Repeat([]byte("0123456789"), 10_000)
	const parts = 10
	stream := redisconn.Stream{Size: parts * len(part), Pieces: func(yield func([]byte) bool) {
		for range parts {
			if !yield(part) {
				return
			}
		}
	}}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for range 10 {
				if got, err := redis.String(p.Do(t.Context(), "ECHO", g)); got != fmt.Sprint(g) || err != nil {
					t.Errorf("ECHO %d: %q, %v", g, got, err)
				}
				got, err := redis.ByteSlices(p.Script(t.Context(), script, "k", stream, uint64(7), stream, []byte("b")))
				if err != nil {
					t.Error(err)
					return
				}
				whole := bytes.Repeat(part, parts)
				want := [][]byte{[]byte("k"), whole, []byte("7"), whole, []byte("b")}
				if !slices.EqualFunc(got, want, bytes.Equal) {
					t.Errorf("got %d arguments, or others than were sent", len(got))
				}
			}
		})
	}
	wg.Wait()
}

// Texts arrive one by one, large arguments between them, and an error names the keys among them.
func TestTexts(t *testing.T) { plainAndSecure(t, testTexts) }

func testTexts(t *testing.T, p *redisconn.Pipeline) {
	t.Helper()
	script := redisconn.NewScript(-1, redisconn.LatestLua+`
if overtaken() then return {} end
for i, key in ipairs(KEYS) do ARGV[#ARGV + 1] = key end
return ARGV`)
	keys, want := redisconn.NewTexts(2, 2), []string{"1", "0"}
	keys.Add("", "k1")
	keys.Add("k", "2")
	args := []any{nil, 0}
	for _, size := range []int{0, 3, redisconn.LargeText, 2, redisconn.LargeText - 1, redisconn.LargeText} {
		text := strings.Repeat("\r\n", size)[:size]
		args, want = redisconn.AppendText(args, []byte(text)), append(want, text)
	}
	marks := redisconn.NewMarks("once.")
	got, err := redis.Strings(p.Latest(t.Context(), marks, script, []any{nil, keys}, args))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want)+3 || !slices.Equal(got[:len(want)], want) || !slices.Equal(got[len(want)+1:], []string{"k1", "k2"}) {
		t.Errorf("got %d arguments, or others than were sent", len(got))
	}

	if _, err := p.Do(t.Context(), "ACL", "SETUSER", "default", "resetkeys", "~other"); err != nil {
		t.Fatal(err)
	}
	if _, err = p.Do(t.Context(), "DEL", keys); err == nil || !strings.Contains(err.Error(), `"k1", "k2"`) {
		t.Errorf("%v does not name the keys", err)
	}
}

// Texts whose memory is used again arrive as they are, however large and whoever else sends some.
func TestTextsAreUsedAgain(t *testing.T) { plainAndSecure(t, testTextsAreUsedAgain) }

func testTextsAreUsedAgain(t *testing.T, p *redisconn.Pipeline) {
	t.Helper()
	script := redisconn.NewScript(-1, `return ARGV`)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 60 {
				texts, want := redisconn.NewTexts(1+i%3, 10), []string(nil)
				for n := range 1 + i%3 {
					text := strings.Repeat(fmt.Sprint(g, i, n, ";"), 1+(i%5)*(g+1)*500)
					texts.Add("", text)
					want = append(want, text)
				}
				got, err := redis.Strings(p.Script(t.Context(), script, 0, texts))
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("got %d texts, or others than were sent: %v", len(got), err)
					return
				}
				texts.Free()
			}
		})
	}
	wg.Wait()
}
