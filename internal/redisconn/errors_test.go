package redisconn_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/certtest"
	"github.com/apium/apium/internal/redisconn"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/settings/connection"
)

// fails asserts what an error is told to be.
func fails(t *testing.T, err error, config, retryable bool, part string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one about %q", part)
	}
	if redisconn.IsConfig(err) != config || redisconn.IsRetryable(err) != retryable {
		t.Errorf("%v: config %t, retryable %t; want %t, %t", err,
			redisconn.IsConfig(err), redisconn.IsRetryable(err), config, retryable)
	}
	if why := redisconn.Explain(err); !strings.Contains(why, part) {
		t.Errorf("%v: explained as %q, want %q", err, why, part)
	}
}

func dial(t *testing.T, url string, opts redisconn.Options) error {
	t.Helper()
	conn, err := parse(t, url, opts).Dial(t.Context())
	if err == nil {
		conn.Close()
	}
	return err
}

func TestDialErrors(t *testing.T) {
	t.Parallel()
	open, locked := redistest.Start(t), redistest.Start(t, redistest.Password("right"))
	small := redistest.Start(t, redistest.Args("--maxclients", "1"))
	small.Dial(t, 0)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	listener.Close()
	for _, test := range []struct {
		name, url         string
		config, retryable bool
		part              string
	}{
		{"wrong password", "redis://:wrong@" + locked.Addr(), true, false, "password is wrong"},
		{"no password", "redis://" + locked.Addr(), true, false, "wants a password"},
		{"needless password", "redis://:x@" + open.Addr(), true, false, "the server has none"},
		{"wrong user", "redis://nobody:x@" + open.Addr(), true, false, "user name"},
		{"database", open.URL(99), true, false, "no database of that number"},
		{"refused", "redis://" + nobody, false, true, "nothing listens"},
		{"host", "redis://no-such-host.invalid", false, true, "no host of that name"},
		{"socket", "redis+socket:///no/such/socket", false, true, "no such socket"},
		{"plain server", "rediss://" + open.Addr(), false, true, "may not speak TLS"},
		{"full", small.URL(0), false, true, "maxclients"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := dial(t, test.url, redisconn.Options{Options: connection.Options{SocketConnectTimeout: 2 * time.Second}})
			if test.name == "host" && redisconn.Explain(err) != test.part && err != nil && !strings.Contains(err.Error(), "no such host") {
				test.part = "" // a resolver that cannot be reached says something else
			}
			fails(t, err, test.config, test.retryable, test.part)
		})
	}
}

func TestServerErrors(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	lonely := redistest.Start(t, redistest.Args("--min-slaves-to-write", "1"))
	for _, test := range []struct {
		name, part string
		server     *redistest.Server
	}{
		{"READONLY", "replica", redistest.Start(t, redistest.ReplicaOf(master))},
		{"OOM", "memory is full", redistest.Start(t, redistest.MaxMemory(1))},
		{"NOREPLICAS", "replicas", lonely},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := open(t, test.server.URL(0), redisconn.Options{}, redisconn.PipelineOptions{})
			_, err := p.Do(t.Context(), "SET", "a", "b")
			fails(t, err, false, true, test.part)
			_, err = p.Script(t.Context(), redisconn.NewScript(1, "return redis.call('SET', KEYS[1], 'x')"), "a")
			fails(t, err, false, true, test.part)
		})
	}
	p := open(t, master.URL(0), redisconn.Options{}, redisconn.PipelineOptions{})
	_, err := p.Do(t.Context(), "NOSUCH")
	fails(t, err, false, false, "")
}

// What the ACL forbids is a matter of configuration, in a script as outside, and the right
// that is missing is named.
func TestForbidden(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	user := func(name string, rights ...any) *redisconn.Pipeline {
		s.Do(t, "ACL", append([]any{"SETUSER", name, "on", ">pw"}, rights...)...)
		return open(t, "redis://"+name+":pw@"+s.Addr(), redisconn.Options{}, redisconn.PipelineOptions{})
	}
	for right, p := range map[string]*redisconn.Pipeline{
		"&* allows all channels":    user("mute", "~*", "+@all", "resetchannels"),
		"~* allows all keys":        user("blind", "~x", "+@all", "&*"),
		"+@all allows all commands": user("lame", "~*", "+@all", "&*", "-publish", "-set"),
	} {
		cmd := []any{"PUBLISH", "c", "text"}
		if strings.Contains(right, "keys") {
			cmd[0] = "SET"
		}
		_, err := p.Do(t.Context(), cmd[0].(string), cmd[1:]...)
		fails(t, err, true, false, right)
		names(t, err, right)
		_, err = p.Script(t.Context(), redisconn.NewScript(1, "return redis.call(ARGV[1], KEYS[1], 'text')"), "c", cmd[0])
		fails(t, err, true, false, right)
		if !strings.Contains(err.Error(), right) {
			t.Errorf("%v does not say %q", err, right)
		}
		names(t, err, right)
	}
	// In the words of other versions.
	for text, right := range map[string]string{
		"ERR Error running script (call to f_0): @user_script:1: The user executing the script can't run this command or subcommand": "+@all",
		"NOPERM ACL failure in script: User app has no permissions to access the 'c' channel":                                        "&*",
		"NOPERM User app has no permissions to run the 'keys' command":                                                               "+@all",
	} {
		fails(t, redis.Error(text), true, false, right)
	}
}

// names checks that an error names the command, or the key or channel "c", that the ACL forbids.
func names(t *testing.T, err error, right string) {
	t.Helper()
	for _, name := range []string{` key "c"`, ` channel "c"`, " command PUBLISH", " command SET"} {
		if strings.Contains(err.Error(), name) && strings.Contains(right, strings.Fields(name)[0]) {
			return
		}
	}
	t.Errorf("%v does not name what is denied", err)
}

// proxy serves TLS in front of a server and returns its address and certificate file.
func proxy(t *testing.T, s *redistest.Server, names ...string) (addr, file string) {
	t.Helper()
	cert, trusted := certtest.SelfSigned(t, time.Hour, names...)
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, trusted, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			back, err := net.Dial("unix", s.Socket())
			if err != nil {
				front.Close()
				return
			}
			go func() { io.Copy(back, front); back.Close() }()
			go func() { io.Copy(front, back); front.Close() }()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "localhost:" + port, file
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	addr, ca := proxy(t, s, "localhost")
	other, otherCA := proxy(t, s, "other.example")
	for _, url := range []string{
		"rediss://" + addr,
		"rediss://" + addr + "?ssl_cert_reqs=none",
		"rediss://" + addr + "?ssl_cert_reqs=required&ssl_ca_certs=" + ca,
		"redis://" + addr + "?ssl_cert_reqs=required&ssl_ca_certs=" + ca,
		"rediss://" + other + "?ssl_cert_reqs=required&ssl_check_hostname=false&ssl_ca_certs=" + otherCA,
	} {
		p := open(t, url, redisconn.Options{}, redisconn.PipelineOptions{})
		big := strings.Repeat("x", 1<<20)
		for range 3 {
			if got, err := p.Do(t.Context(), "ECHO", big); err != nil || string(got.([]byte)) != big {
				t.Fatalf("%s: %v", url, err)
			}
		}
	}
	for _, url := range []string{
		"rediss://" + addr + "?ssl_cert_reqs=required",
		"rediss://" + addr + "?ssl_cert_reqs=required&ssl_ca_certs=" + otherCA,
		"rediss://" + other + "?ssl_cert_reqs=required&ssl_ca_certs=" + otherCA,
		"rediss://" + addr + "?ssl_cert_reqs=required&ssl_check_hostname=false&ssl_ca_certs=" + otherCA,
	} {
		fails(t, dial(t, url, redisconn.Options{}), true, false, "not trusted")
	}
	fails(t, dial(t, "redis://"+addr, redisconn.Options{Options: connection.Options{SocketConnectTimeout: 2 * time.Second}}), false, true, "")
}

func TestDialIsInterrupted(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Freeze(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := parse(t, s.URL(0), redisconn.Options{}).Dial(ctx)
	fails(t, err, false, true, "did not answer in time")
	fails(t, dial(t, s.URL(0), redisconn.Options{Options: connection.Options{SocketConnectTimeout: 50 * time.Millisecond}}), false, true, "did not answer in time")
	s.Thaw(t)
}

// Servers before Redis 7 wrap the error of a command in a script.
func TestErrorsInScriptsOfOldServers(t *testing.T) {
	t.Parallel()
	const wrapped = "ERR Error running script (call to f_bd6f3018): @user_script:1: @user_script: 1: -"
	for reply, why := range map[string]string{
		"OOM command not allowed when used memory > 'maxmemory'.": "memory is full",
		"READONLY You can't write against a read only replica.":   "replica",
		"NOREPLICAS Not enough good replicas to write.":           "replicas",
	} {
		err := redis.Error(wrapped + reply)
		if !redisconn.IsRetryable(err) || !strings.Contains(redisconn.Explain(err), why) {
			t.Errorf("%s: retryable %v, explained as %q", reply, redisconn.IsRetryable(err), redisconn.Explain(err))
		}
	}
	if err := redis.Error(wrapped + "WRONGTYPE Operation against a key"); redisconn.IsRetryable(err) {
		t.Errorf("%v is retryable", err)
	}
}
