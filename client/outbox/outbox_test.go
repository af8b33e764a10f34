package outbox_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/app"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/client"
	"github.com/apium/apium/client/outbox"
	"github.com/apium/apium/internal/envelopetest"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/internal/sqltest"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

func TestMain(m *testing.M) {
	if os.Getenv("OUTBOX_CHILD") != "" {
		child()
	}
	code := m.Run()
	sqltest.Stop()
	os.Exit(code)
}

var dialects = map[string]outbox.Dialect{
	sqltest.PostgreSQL: outbox.PostgreSQL, sqltest.MySQL: outbox.MySQL, sqltest.SQLite: outbox.SQLite,
}

// recorder is a publisher that keeps what it gets, unless it is told otherwise.
type recorder struct {
	mu       sync.Mutex
	messages []broker.Publication
	fails    func(messages []broker.Publication) error
}

func (r *recorder) Publish(_ context.Context, messages ...broker.Publication) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fails != nil {
		if err := r.fails(messages); err != nil {
			return err
		}
	}
	r.messages = append(r.messages, messages...)
	return nil
}

func (*recorder) Close() error { return nil }

// args are the first arguments of what was published.
func (r *recorder) args(t *testing.T) (args []string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.messages {
		var body []json.RawMessage
		if err := json.Unmarshal(m.Message.Body, &body); err != nil {
			t.Fatal(err)
		}
		args = append(args, strings.Trim(string(body[0]), "[]"))
	}
	return args
}

// bench is an outbox in a database.
type bench struct {
	t         *testing.T
	db        *sql.DB
	box       *outbox.Box
	published *recorder
	client    *client.Client
}

// onEach runs a test on each kind of database.
func onEach(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	t.Parallel()
	for name, dialect := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := sqltest.New(t, name).Open(t)
			b := &bench{t: t, db: db, published: &recorder{}, box: outbox.New(dialect, outbox.Options{
				Every: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
			})}
			for range 2 { // it may be there already
				b.exec(b.box.DDL())
			}
			var err error
			if b.client, err = client.New(client.Config{Publisher: b.published}); err != nil {
				t.Fatal(err)
			}
			test(t, b)
		})
	}
}

func (b *bench) exec(statement string) {
	b.t.Helper()
	if _, err := b.db.ExecContext(b.t.Context(), statement); err != nil {
		b.t.Fatal(err)
	}
}

// send sends one call for each number in one transaction, which is committed or rolled back.
func (b *bench) send(commit bool, numbers ...int) (results []*client.AsyncResult) {
	b.t.Helper()
	tx, err := b.db.BeginTx(b.t.Context(), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, n := range numbers {
		result, err := b.box.Send(b.t.Context(), tx, b.client, canvas.Sig("shop.tasks.charge", n))
		if err != nil {
			b.t.Fatal(err)
		}
		results = append(results, result)
	}
	end := tx.Rollback
	if commit {
		end = tx.Commit
	}
	if err := end(); err != nil {
		b.t.Fatal(err)
	}
	return results
}

// relay starts relays, which end with the test, or when stop is called.
func (b *bench) relay(n int, c *client.Client) (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var all sync.WaitGroup
	for range n {
		all.Go(func() { b.box.Relay(ctx, b.db, c) })
	}
	stop = func() { cancel(); all.Wait() }
	b.t.Cleanup(stop)
	return stop
}

// rows are how many rows a condition has.
func (b *bench) rows(where string) (n int) {
	b.t.Helper()
	if err := b.db.QueryRowContext(b.t.Context(), "SELECT COUNT(*) FROM apium_outbox WHERE "+where).Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *bench) await(what string, condition func() bool) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("in vain: %s", what)
		}
	}
}

// What is committed is published, in its order, under the id that Send has told; what is rolled back is not.
func TestTransactions(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		b.send(true, 1, 2)
		b.send(false, 3)
		result := b.send(true, 4)[0]
		if args := b.published.args(t); args != nil {
			t.Errorf("%v was published without a relay", args)
		}
		b.relay(1, b.client)
		b.await("all is published", func() bool { return b.rows("1=1") == 0 })
		if args, want := b.published.args(t), []string{"1", "2", "4"}; !slices.Equal(args, want) {
			t.Errorf("published are %v, want %v", args, want)
		}
		if id := b.published.messages[2].Message.Properties.CorrelationID; id != result.ID {
			t.Errorf("the message is that of %s, and the result that of %s", id, result.ID)
		}
	})
}

// Several relays publish each row once.
func TestSeveralRelays(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		const n = 1000
		numbers := make([]int, n)
		for i := range numbers {
			numbers[i] = i
		}
		b.send(true, numbers...)
		b.relay(3, b.client)
		b.await("all is published", func() bool { return b.rows("1=1") == 0 })
		args := b.published.args(t)
		slices.Sort(args)
		if twice := len(args) - len(slices.Compact(slices.Clone(args))); len(args) != n || twice > 0 {
			t.Errorf("%d are published, %d of them twice", len(args), twice)
		}
	})
}

// What the broker refuses stays with the reason, and so does what cannot be read; what comes behind is published.
func TestRefused(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		refused := errors.New("too large")
		b.published.fails = func(messages []broker.Publication) error {
			for i, m := range messages {
				if strings.Contains(string(m.Message.Body), "[[2]") {
					return &broker.RefusedError{Index: i, Err: refused}
				}
			}
			return nil
		}
		b.send(true, 1, 2, 3, 4)
		b.exec("UPDATE apium_outbox SET messages = 'x' WHERE id = 3")
		b.relay(1, b.client)
		b.await("all else is published", func() bool { return b.rows("refused IS NULL") == 0 })
		if args, want := b.published.args(t), []string{"1", "4"}; !slices.Equal(args, want) {
			t.Errorf("published are %v, want %v", args, want)
		}
		if n := b.rows("refused LIKE '%too large%' AND id = 2") + b.rows("refused LIKE '%read messages%' AND id = 3"); n != 2 {
			t.Errorf("%d rows say why", n)
		}
	})
}

// While the broker is away all stays, and rows are free for others at once when a relay has given up.
func TestBrokerAway(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		var tries int
		b.published.fails = func([]broker.Publication) error {
			if tries++; tries == 1 {
				return errors.New("connection refused")
			}
			return nil
		}
		b.send(true, 1, 2)
		b.relay(1, b.client)
		b.await("all is published", func() bool { return b.rows("1=1") == 0 })
		if args, want := b.published.args(t), []string{"1", "2"}; !slices.Equal(args, want) {
			t.Errorf("published are %v, want %v", args, want)
		}
	})
}

// What is published while the relay is told to end is not published again.
func TestEndsInBetween(t *testing.T) {
	onEach(t, func(t *testing.T, b *bench) {
		published, end := make(chan struct{}), make(chan struct{})
		b.published.fails = func([]broker.Publication) error { close(published); <-end; return nil }
		b.send(true, 1)
		stop := b.relay(1, b.client)
		<-published
		stopped := make(chan struct{})
		go func() { defer close(stopped); stop() }()
		close(end)
		<-stopped
		if n := b.rows("1=1"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// What counts from the call is less when the message is published later.
func TestAge(t *testing.T) {
	t.Parallel()
	db := sqltest.New(t, sqltest.SQLite).Open(t)
	b := &bench{t: t, db: db, published: &recorder{}, box: outbox.New(outbox.SQLite, outbox.Options{Every: time.Millisecond})}
	b.exec(b.box.DDL())
	var err error
	if b.client, err = client.New(client.Config{Publisher: b.published}); err != nil {
		t.Fatal(err)
	}
	call := canvas.Sig("shop.tasks.charge", 1)
	for _, expires := range []time.Duration{time.Hour, time.Millisecond} {
		if _, err := b.box.Send(t.Context(), db, b.client, call, canvas.Expires(expires), canvas.Countdown(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(2 * time.Millisecond)
	b.relay(1, b.client)
	b.box.Wake()
	b.await("all is published", func() bool { return b.rows("1=1") == 0 })
	for i, m := range b.published.messages {
		left, delay := m.Message.Properties.Expiration, m.Delay
		if i == 0 && (left >= time.Hour || left < time.Minute) || i == 1 && left != time.Millisecond || delay >= time.Hour || delay < time.Minute {
			t.Errorf("message %d expires after %v, and is due after %v", i, left, delay)
		}
	}
}

// Processes that send and relay are killed at any point: what was committed is published, and nothing else.
func TestKills(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name := range dialects {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := sqltest.New(t, name)
			b := &bench{t: t, db: database.Open(t), box: outbox.New(dialects[name], outbox.Options{Every: 10 * time.Millisecond})}
			b.exec(b.box.DDL())
			b.exec("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
			queue := "charges-" + name
			const kills = 8
			for i := range kills {
				cmd := exec.Command(os.Args[0])
				driver, source := sourceOf(t, database)
				cmd.Env = append(os.Environ(), "OUTBOX_CHILD="+name, "DRIVER="+driver, "SOURCE="+source, "REDIS="+server.URL(0), "QUEUE="+queue, fmt.Sprintf("FIRST=%d", i*1_000_000))
				cmd.Stderr = os.Stderr
				out, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				_, _ = out.Read(make([]byte, 1)) // it works
				time.Sleep(time.Duration(i) * 7 * time.Millisecond)
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			}
			if name == sqltest.SQLite {
				b.exec("UPDATE apium_outbox SET held_until = 0") // as if the time of what the killed ones held were over
			}
			shop := open(t, server.URL(0), queue)
			stop := b.relay(1, shop.Client)
			b.await("all is published", func() bool { return b.rows("1=1") == 0 })
			stop()
			b.compare(server, queue)
		})
	}
}

// sourceOf is a database for another process.
func sourceOf(t *testing.T, d *sqltest.Database) (driver, source string) {
	t.Helper()
	if d.Dialect == sqltest.SQLite {
		return "sqlite", "file:" + d.Name + "?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_txlock=immediate"
	}
	u, err := url.Parse(d.URL())
	if err != nil {
		t.Fatal(err)
	}
	if d.Dialect == sqltest.MySQL {
		return "mysql", u.User.String() + "@tcp(" + u.Host + ")" + u.Path
	}
	u.Scheme = "postgres"
	return "pgx", u.String()
}

// child makes orders and relays their tasks until it is killed.
func child() {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	ctx := context.Background()
	db, err := sql.Open(os.Getenv("DRIVER"), os.Getenv("SOURCE"))
	must(err)
	shop, err := connect(os.Getenv("REDIS"), os.Getenv("QUEUE"))
	must(err)
	first, err := strconv.Atoi(os.Getenv("FIRST"))
	must(err)
	dialect := dialects[os.Getenv("OUTBOX_CHILD")]
	box := outbox.New(dialect, outbox.Options{Every: time.Millisecond})
	go box.Relay(ctx, db, shop.Client)
	for i := first; ; i++ {
		tx, err := db.BeginTx(ctx, nil)
		must(err)
		_, err = tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES ("+strconv.Itoa(i)+")")
		must(err)
		_, err = box.Send(ctx, tx, shop.Client, canvas.Sig("shop.tasks.charge", i))
		must(err)
		if i%3 == 2 {
			must(tx.Rollback())
		} else {
			must(tx.Commit())
		}
		box.Wake()
		if i == first+10 {
			fmt.Print("1")
		}
	}
}

// compare holds what is in a queue against the orders.
func (b *bench) compare(server *redistest.Server, queue string) {
	b.t.Helper()
	raws, err := redis.ByteSlices(server.Dial(b.t, 0).Do("LRANGE", queue, 0, -1))
	if err != nil {
		b.t.Fatal(err)
	}
	accept, err := protocol.NewAccept("json")
	if err != nil {
		b.t.Fatal(err)
	}
	decoder := protocol.Decoder{Accept: accept}
	ids := map[string]string{} // of tasks, by order
	for _, raw := range raws {
		task, err := decoder.Decode(envelopetest.Open(raw))
		if err != nil {
			b.t.Fatal(err)
		}
		order := strings.Trim(string(task.Args), "[]")
		if before := ids[order]; before != "" && before != task.ID {
			b.t.Errorf("order %s has two tasks", order)
		}
		ids[order] = task.ID
	}
	rows, err := b.db.QueryContext(b.t.Context(), "SELECT id FROM orders")
	if err != nil {
		b.t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var order string
		if err := rows.Scan(&order); err != nil {
			b.t.Fatal(err)
		}
		if ids[order] == "" {
			b.t.Errorf("order %s has no task", order)
		}
		delete(ids, order)
	}
	b.t.Logf("%d orders, %d messages", n, len(raws))
	if err := rows.Err(); err != nil || n == 0 || len(ids) > 0 {
		b.t.Errorf("%d orders; tasks without one: %v; %v", n, ids, err)
	}
}

func open(t *testing.T, url, queue string) *app.App {
	shop, err := connect(url, queue)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shop.Close() })
	return shop
}

func connect(url, queue string) (*app.App, error) {
	conf := settings.Default()
	conf.BrokerURL, conf.TaskDefaultQueue = url, queue
	return app.Open(context.Background(), conf)
}
