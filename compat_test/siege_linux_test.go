package compat_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	producer "github.com/apium/apium/app" // app is the Python one here
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
)

const (
	besieged   = 2 // workers
	siegeSlots = 4 // of each
	// siegeHeartbeat is what workers ask RabbitMQ for, in seconds, and how long ours show no sign of life in Redis
	// before others take them for dead.
	siegeHeartbeat = 2
	siegeLead      = 2 // seconds until another beat goes on, as thousands shall be killed one after the other
	// siegeVisibility is the visibility timeout in seconds: Celery's workers give back what others of them held.
	siegeVisibility = 10
)

// siege is a broker with workers of one kind behind a network, to all of which something is done while tasks run.
type siege struct {
	t        *testing.T
	kind     string // of workers: see scripts/torture
	moved    string // the program of workers whose clocks are apart
	server   *redisServer
	rabbit   *rabbittest.Server // nil: messages are in server
	failover *failover          // nil: server is the only one
	network  *network           // nil: workers find the server themselves, by Sentinel
	app      app                // as workers see it
	conf     *settings.Settings
	workers  []*process
	note     func(sent ...sentTask) // whoever accounts for what is sent
	named    bool                   // workers say who they are in what they note: see account
	starts   []int                  // of each worker
	silence  int                    // seconds: see siegeHeartbeat
	timeout  int                    // seconds, of Python's clients: see clients
	beats    []*process
	counted  int // runs of the beats' entry that the ledger has been told of
	losses   int // how often workers had lost their connections when all was well
	loaded   int // how many tasks of each kind were sent
	probes   int
	looked   int // for the results of so many of the tasks that were sent
	ledger   ledger
}

// tortured is the app of workers that run the same tasks in Go as tapp's, and in Python as this one's.
const tortured = "tortured"

// modules are those by whose names tasks are sent, in turn.
func (s *siege) modules() []string {
	if s.kind == "children" {
		return []string{"tapp", tortured}
	}
	return []string{"tapp"}
}

// besiege starts a broker and workers, for whoever accounts for the tasks: its ledger, or somebody else.
func besiege(t *testing.T, broker, kind string, other func(*siege)) *siege {
	t.Helper()
	s := &siege{t: t, kind: kind, workers: make([]*process, besieged), starts: make([]int, besieged), silence: siegeHeartbeat, timeout: siegeHeartbeat}
	s.ledger = ledger{
		journal: startRedis(t), slots: besieged * siegeSlots * len(s.modules()), ahead: 64, unconfirmed: broker == "rabbitmq",
		once: broker != "rabbitmq" && kind == "go", apart: kind == "apart",
	}
	s.note = s.ledger.send
	if other != nil {
		other(s)
	}
	switch broker {
	case "redis":
		s.server = startRedis(t, journaled...)
		s.network = newNetwork(t, s.server.addr())
		s.app = app{broker: "redis://" + s.network.addr() + "/0"}
		s.conf = s.settings(s.server.url(0), s.server.url(0))
	case "rabbitmq":
		s.rabbit = rabbittest.Start(t)
		s.server = s.ledger.journal // which has results, too
		s.server.vhost = s.rabbit.VHost(t)
		s.network = newNetwork(t, s.rabbit.Addr())
		s.app = app{broker: s.server.vhost.URLAt(s.network.addr()) + "?heartbeat=" + strconv.Itoa(s.silence), backend: s.server.url(0), variables: []string{"QUORUM=q"}}
		s.conf = s.settings(s.server.vhost.URL(), s.server.url(0))
	case "sentinel":
		s.failover = startFailover(t)
		s.server = s.failover.master
		s.app = app{broker: s.failover.url()}
		s.conf = s.settings(s.failover.url(), s.failover.url())
	default:
		t.Fatalf("there is no broker %q; there are redis, rabbitmq and sentinel", broker)
	}
	s.app.journal = s.ledger.journal.url(1)
	s.app.settings = map[string]any{
		"worker_proc_alive_timeout":     patience.Seconds(), // this machine may have no time
		"broker_connection_max_retries": 0,
		"task_publish_retry_policy":     map[string]any{"max_retries": 20},
		"broker_transport_options":      s.clients(), "result_backend_transport_options": s.clients(),
		"redis_socket_timeout": s.timeout, "redis_socket_connect_timeout": s.timeout,
	}
	if kind == "apart" {
		s.moved = buildApart(t)
	}
	s.load(siegeBatch) // which declares the queues
	for i := range s.workers {
		s.start(i)
	}
	for i := range s.workers {
		s.workers[i].waitLog(t, " ready.")
	}
	if kind == "apart" {
		s.wantWarned()
	}
	return s
}

// journaled are the options of a Redis that loses nothing when it is killed.
var journaled = []string{"--appendonly", "yes", "--appendfsync", "always"}

// clients are the options without which Python's clients, in Celery's workers and in the children of ours, wait without end
// for an answer that does not come, and do not hear that RabbitMQ has not got what they have sent.
func (s *siege) clients() map[string]any {
	if s.rabbit != nil {
		return map[string]any{"confirm_publish": true, "read_timeout": s.timeout, "write_timeout": s.timeout}
	}
	options := s.transport()
	options["socket_timeout"], options["socket_connect_timeout"] = s.timeout, s.timeout
	options["unacked_restore_interval"], options["unacked_restore_throttle"] = 1, 1
	return options
}

// transport are the options of Redis that every worker has.
func (s *siege) transport() map[string]any {
	options := map[string]any{}
	if s.rabbit == nil {
		options["visibility_timeout"] = siegeVisibility
		if s.kind == "apart" { // else whoever is ahead takes what others hold, as doctor says
			options["visibility_timeout"] = 3600
		}
	}
	if s.failover != nil {
		options["master_name"] = masterName
	}
	return options
}

// queues are those of tasks; each worker also has one of its own, for probes.
func (s *siege) queues() string {
	if s.rabbit == nil {
		return "celery"
	}
	return "celery,q"
}

// settings are the producer's.
func (s *siege) settings(broker, backend string) *settings.Settings {
	s.t.Helper()
	doc := map[string]any{
		"broker_url": broker, "broker_transport_options": s.transport(),
		"result_backend": backend, "result_backend_transport_options": s.transport(),
	}
	if s.rabbit != nil {
		doc["task_queues"] = map[string]any{
			"celery": map[string]any{}, "q": map[string]any{"queue_arguments": map[string]any{"x-queue-type": "quorum"}},
		}
	}
	conf, err := settings.Load(settings.Sources{File: settingsFile(s.t, doc)})
	if err != nil {
		s.t.Fatal(err)
	}
	return conf
}

// publish sends tasks past the network; it tries again until the broker has them.
func (s *siege) publish(sigs ...canvas.Signature) {
	s.t.Helper()
	var err error
	eventually(s.t, patience, "tasks are sent", func() bool {
		var a *producer.App
		if a, err = producer.Open(s.t.Context(), s.conf); err != nil {
			return false
		}
		defer a.Close()
		ctx, cancel := context.WithTimeout(s.t.Context(), patience) // who tries again after an answer that is late sends twice
		defer cancel()
		_, err = a.SendAll(ctx, sigs...)
		return err == nil
	})
}

// suffer has a fault happen, and waits until every worker works again.
func (s *siege) suffer(f *fault) {
	s.t.Helper()
	s.revive()
	s.tend(f)
	most := 2 * siegeBatch
	if f.drops {
		most = 0 // what is dropped is what this load brings
	}
	s.await("most is done before "+f.name, func() bool { return s.messages() <= most })
	if f.drops {
		s.lookForResults()
	}
	s.load(siegeBatch)
	before := s.ledger.now(s.t).done
	s.await("work goes on before "+f.name, func() bool { return s.ledger.now(s.t).done >= before+siegeBatch/4 })
	if s.lost() > s.losses { // the machine was busy
		s.ledger.begin(s.t, itself)
	}
	m, began := s.ledger.begin(s.t, f), time.Now()
	f.do(s)
	ended := time.Now()
	works := s.worksBy(ended.Add(s.forbearance()))
	m.normal, m.to, s.losses = time.Since(ended), s.ledger.now(s.t), s.lost()
	s.beatsGoOn(m.to)
	if s.celerys() {
		if m.never = !works; m.never {
			for i, w := range s.workers {
				w.kill()
				s.start(i)
			}
			s.losses = 0
		}
		return
	}
	if !works {
		s.t.Fatalf("after %s the workers do not work", f.name)
	}
	if most := allow(5*time.Second+f.notice, began); m.normal > most {
		s.t.Errorf("after %s it took %v until every worker worked; %v at most are good", f.name, m.normal, most)
	}
}

// forbearance is how long workers may need until all work again. Celery's that do not are replaced.
func (s *siege) forbearance() time.Duration {
	if s.celerys() {
		return time.Minute
	}
	return patience
}

// itself is what happens when nobody does anything.
var itself = &fault{name: "nothing", unacks: true, do: func(*siege) {}}

// worksBy sends each worker a task in a queue of its own, and waits until all are done.
func (s *siege) worksBy(deadline time.Time) bool {
	s.t.Helper()
	s.probes++
	want := map[string]bool{}
	sigs := make([]canvas.Signature, besieged)
	for i := range sigs {
		key := fmt.Sprintf("probe-%d-%d", s.probes, i)
		want[key] = true
		sigs[i] = canvas.Sig("tapp.work", key, 0).Set(canvas.Queue(probeQueue(i)))
	}
	s.publish(sigs...)
	for {
		for _, key := range s.ledger.journal.journalKeys(s.t, "done") {
			delete(want, key)
		}
		if len(want) == 0 {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		for i, w := range s.workers {
			if s.celerys() && w.stopped() { // as whoever supervises them does
				s.start(i)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// lookForResults has the ledger know of which late tasks the results are missing, when all are done. A load that is dropped has none.
func (s *siege) lookForResults() {
	s.t.Helper()
	from := s.looked
	s.looked = len(s.ledger.sent)
	if s.celerys() || s.failover != nil { // a replica may lack the last results
		return
	}
	for _, m := range s.ledger.marks {
		if m.fault.drops {
			from = max(from, m.sent)
		}
	}
	for _, task := range s.ledger.sent[from:] {
		if task.id == "" {
			continue
		}
		if record, _ := s.server.do(s.t, "GET", "celery-task-meta-"+task.id).([]byte); !strings.Contains(string(record), `"SUCCESS"`) {
			s.ledger.unstored = append(s.ledger.unstored, task.key)
		}
	}
}

// messages are those that wait, and those that workers hold.
func (s *siege) messages() int {
	s.t.Helper()
	return s.server.messages(s.t, strings.Split(s.queues(), ",")...)
}

// idle tells whether no message is left.
func (s *siege) idle() bool { s.t.Helper(); return s.messages() == 0 }

// end waits until all is done, and ends the workers.
func (s *siege) end() {
	s.t.Helper()
	if s.celerys() { // some of it may come only after its visibility timeout
		for until := time.Now().Add(20 * time.Second); !s.idle() && time.Now().Before(until); {
			time.Sleep(100 * time.Millisecond)
		}
		return
	}
	s.endBeats()
	// A quorum queue does not count what it hands on when that is due, until the next queue has it: after a fault of the broker that takes a while.
	comesTrue(patience, func() bool { return s.ledger.complete(s.t) })
	eventually(s.t, patience, "all messages are settled", s.idle)
	s.lookForResults()
	s.endWorkers()
}

// ready asks a worker of ours at /readyz, and for a metric.
func (s *siege) ready(w *process) (status int, says string, blocked float64) {
	s.t.Helper()
	page := metricsURL(s.t, w)
	at, err := url.Parse(page)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.Get(at.ResolveReference(&url.URL{Path: "/readyz"}).String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer.StatusCode, string(text), sum(scrape(s.t, page), `apium_broker_blocked.*`)
}
