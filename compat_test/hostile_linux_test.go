package compat_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	producer "github.com/apium/apium/app" // app is the Python one here
	"github.com/apium/apium/internal/rabbittest"
	"github.com/apium/apium/operate/control"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/compression"
	"github.com/apium/apium/settings"
)

// A worker that is sent whatever anybody can think of takes good tasks meanwhile as it always does: none waits for a second, besides
// what the broker needs for messages of many megabytes that are before it. It needs no more than half a gigabyte, each message ends somewhere, and nothing is left.
func TestHostileInput(t *testing.T) {
	t.Parallel()
	for name, on := range map[string]brokerKind{"redis": startRedis, "rabbitmq": startRabbit} {
		for _, children := range []bool{false, true} {
			t.Run(name+map[bool]string{true: "/children", false: "/go"}[children], func(t *testing.T) { // in turns: each watches how late its good tasks are
				h := &hostility{server: on(t), children: children}
				a := h.server.app()
				args := slices.Concat(servesMetrics, []string{"-n", "w1@host", "-Q", "celery,good", "-c", "4", "-E"})
				if children {
					// Python takes its time for some of it, and nobody else can end that.
					h.worker = a.startChildren(t, append(args, "--time-limit", "15")...)
				} else {
					h.worker = startWorker(t, a, args...)
				}
				h.watch(t)
				h.attack(t)
				h.judge(t)
			})
		}
	}
}

// memoryLimit is how much memory a worker may need, in bytes.
const memoryLimit = 512 << 20

// hostility is one worker under attack, and good tasks beside.
type hostility struct {
	server   *redisServer
	worker   *process
	children bool
	sent     int           // messages, of which each must leave a trace
	rounds   int           // of control
	longest  time.Duration // that the broker took to take in a part
	began    time.Time
	good     map[string]time.Time // when each was sent
	stop     func()
}

// watch sends good tasks until stop is called.
func (h *hostility) watch(t *testing.T) {
	t.Helper()
	conf := settings.Default()
	conf.BrokerURL, conf.ResultBackend = h.server.app().broker, "disabled://"
	a, err := producer.Open(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	h.good, h.began = map[string]time.Time{}, time.Now()
	end, ended := make(chan struct{}), make(chan struct{})
	h.stop = sync.OnceFunc(func() { close(end); <-ended })
	t.Cleanup(h.stop)
	go func() {
		defer close(ended)
		defer a.Close()
		for i := 0; ; i++ {
			key := strconv.Itoa(i)
			h.good[key] = time.Now()
			if _, err := a.Send(context.WithoutCancel(t.Context()), canvas.Sig("tapp.stamp", key).Set(canvas.Queue("good"))); err != nil {
				t.Errorf("a good task is not sent: %v", err)
				return
			}
			select {
			case <-end:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
}

// attack sends everything, a part at a time: what waits behind much of it would wait for its turn, which is no fault.
func (h *hostility) attack(t *testing.T) {
	t.Helper()
	for part := range slices.Chunk(h.messages(t), 50) {
		began := time.Now()
		h.send(t, part)
		h.longest = max(h.longest, time.Since(began))
		h.sent += len(part)
		h.control(t)
		eventually(t, patience, "all is settled", func() bool { return h.server.messages(t, "celery") == 0 })
	}
}

// messages are all that is sent to the queue of tasks.
func (h *hostility) messages(t *testing.T) (calls []call) {
	t.Helper()
	for i, raw := range slices.Sorted(maps.Values(garbage)) {
		if h.server.vhost == nil {
			calls = append(calls, call{Key: "celery", ID: "", Raw: raw, Name: fmt.Sprint("garbage ", i)})
		}
	}
	calls = append(calls, wrongTypes(t)...)
	calls = append(calls, mutations(t, 7, 150)...)
	for name, m := range enormous(t) {
		if h.children && strings.HasSuffix(name, "lists") {
			continue // Python reads whatever it is sent, for as long as that takes: then good tasks wait for a process
		}
		calls = append(calls, call{Key: "celery", ID: name, Raw: m, Name: name})
	}
	return calls
}

// task is a message for a task, as kombu's transport for Redis wraps it. Headers replace those that it has.
func taskMessage(t *testing.T, id, task, contentType string, body []byte, headers map[string]any) string {
	t.Helper()
	all := map[string]any{"lang": "py", "task": task, "id": id, "root_id": id, "retries": 0, "eta": nil, "expires": nil, "timelimit": []any{nil, nil}}
	maps.Copy(all, headers)
	raw, err := json.Marshal(map[string]any{
		"body": base64.StdEncoding.EncodeToString(body), "content-type": contentType, "content-encoding": "utf-8", "headers": all,
		"properties": map[string]any{
			"correlation_id": id, "delivery_tag": id, "delivery_mode": 2, "priority": 0, "body_encoding": "base64",
			"delivery_info": map[string]any{"exchange": "", "routing_key": "celery"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// wrongTypes are good messages in which one thing is not of its type: each field of envelope, headers, properties and body in
// turn, and each of the values that most fields do not expect.
func wrongTypes(t *testing.T) (calls []call) {
	t.Helper()
	good := captured(t)[0]
	places := func(doc any) (paths [][]string) {
		var walk func(doc any, path []string)
		walk = func(doc any, path []string) {
			paths = append(paths, path)
			if doc, ok := doc.(map[string]any); ok {
				for _, name := range slices.Sorted(maps.Keys(doc)) {
					walk(doc[name], append(path[:len(path):len(path)], name))
				}
			}
		}
		walk(doc, nil)
		return paths[1:]
	}
	var envelope, embed map[string]any
	if err := decodeNumbers(good, &envelope); err != nil {
		t.Fatal(err)
	}
	if err := decodeNumbers(`{"args": [1, 2], "kwargs": {}, "embed": {"callbacks": null, "errbacks": null, "chain": null, "chord": null}}`, &embed); err != nil {
		t.Fatal(err)
	}
	properties, _ := envelope["properties"].(map[string]any)
	headers, _ := envelope["headers"].(map[string]any)
	add := func(doc map[string]any, path []string, value any, raw func(id string) string) {
		id := fmt.Sprint("wrong-", len(calls))
		properties["delivery_tag"], properties["correlation_id"], headers["id"] = id, id, id
		for _, name := range path[:len(path)-1] {
			doc, _ = doc[name].(map[string]any)
		}
		last := path[len(path)-1]
		old := doc[last]
		doc[last] = value
		calls = append(calls, call{Key: "celery", Raw: raw(id), Name: fmt.Sprintf("%v is %v", path, value)})
		doc[last] = old
	}
	for i, path := range places(envelope) {
		for j, value := range wild {
			if (i+j)%4 == 0 { // every value meets several fields, every field several values
				add(envelope, path, value, func(string) string { return written(t, envelope) })
			}
		}
	}
	for _, path := range places(embed) {
		for _, value := range wild {
			add(embed, path, value, func(id string) string {
				body := written(t, []any{embed["args"], embed["kwargs"], embed["embed"]})
				return taskMessage(t, id, "tapp.add", "application/json", []byte(body), nil)
			})
		}
	}
	return calls
}

// bombSize is what a bomb becomes, in bytes: more than a body may become that is packed into a thousandth.
const bombSize = 32 << 20

// enormous are messages that are large, deep, or become so when they are read. They take long to make, and are made once.
func enormous(t *testing.T) map[string]string {
	t.Helper()
	enormousOnce.Do(func() { enormousMade = makeEnormous(t) })
	return enormousMade
}

var (
	enormousOnce sync.Once
	enormousMade map[string]string
)

func makeEnormous(t *testing.T) map[string]string {
	t.Helper()
	args := func(args string) []byte {
		return []byte("[[" + args + `], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]`)
	}
	made := map[string]string{}
	add := func(name, contentType string, body []byte, headers map[string]any) {
		id := strings.ReplaceAll(name, " ", "-")
		made[id] = taskMessage(t, id, "tapp.same", contentType, body, headers)
	}
	const jsonType = "application/json"
	add("deep arguments", jsonType, args(strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)), nil)
	add("deep and not closed", jsonType, args(strings.Repeat(`{"a":`, 100_000)), nil)
	add("deep enough for Python", jsonType, args(strings.Repeat("[", 990)+strings.Repeat("]", 990)), nil)
	add("long argument", jsonType, args(`"`+strings.Repeat("x", 8<<20)+`"`), nil)
	add("many arguments", jsonType, args(strings.Repeat("1,", 1<<20)+"1"), nil)
	add("many lists", jsonType, args("["+strings.Repeat("[],", 2<<20)+"[]]"), nil)
	add("long number", jsonType, args(strings.Repeat("9", 2<<20)), nil)
	add("long fraction", jsonType, args("0."+strings.Repeat("9", 2<<20)), nil)
	add("long exponent", jsonType, args("1e"+strings.Repeat("9", 1<<20)), nil)
	add("many names", jsonType, []byte(`[[], {`+strings.Repeat(`"x":1,`, 1<<20)+`"x":1}, {}]`), nil)
	add("long header", jsonType, args("1"), map[string]any{"argsrepr": strings.Repeat("x", 100_000)})
	add("many stamps", jsonType, args("1"), map[string]any{"stamped_headers": slices.Repeat([]string{"stamp"}, 3000), "stamps": map[string]any{"stamp": 1}})
	for _, method := range []string{"zlib", "bzip2", "lzma", "zstd", "brotli"} {
		kind, err := compression.ContentType(method)
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"spaces": " ", "lists": "[],"} {
			packed, err := compression.Compress(method, args("[[],"+strings.Repeat(text, bombSize/len(text))+"[]]"))
			if err != nil {
				t.Fatal(err)
			}
			add(method+" of "+name, jsonType, packed, map[string]any{"compression": kind})
		}
	}
	add("yaml laughs", "application/x-yaml", []byte("a: &a [x,x,x,x,x,x,x,x,x]\n"+laughs), nil)
	add("msgpack lies", "application/x-msgpack", []byte("\x93\xdd\xff\xff\xff\xff\x01"), nil)
	add("pickle calls", "application/x-python-serialize", []byte("cos\nsystem\n(S'touch hostile'\ntR."), nil)
	return made
}

// laughs is YAML that becomes much.
var laughs = func() (text string) {
	for c := 'b'; c < 'k'; c++ {
		text += fmt.Sprintf("%c: &%[1]c [%s*%c]\n", c, strings.Repeat(fmt.Sprintf("*%c,", c-1), 8), c-1)
	}
	return text
}()

// send puts the messages into their queue as they are, or, on RabbitMQ, as near to that as AMQP can say it.
func (h *hostility) send(t *testing.T, calls []call) {
	t.Helper()
	if h.server.vhost == nil {
		for _, c := range calls {
			h.server.do(t, "LPUSH", c.Key, c.Raw)
		}
		return
	}
	ch := rabbittest.Channel(t, h.server.vhost.URL())
	for _, c := range calls {
		if err := ch.PublishWithContext(t.Context(), "", "celery", true, false, lenientPublishing(c.Raw)); err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
	}
	if err := ch.Close(); err != nil { // all was taken
		t.Fatal(err)
	}
}

// lenientPublishing says in AMQP what a message for Redis says, as far as that is possible.
func lenientPublishing(raw string) amqp.Publishing {
	var envelope map[string]any
	if decodeNumbers(raw, &envelope) != nil {
		return amqp.Publishing{Body: []byte(raw), ContentType: "application/json", Headers: amqp.Table{"task": "tapp.same", "id": "raw"}}
	}
	short := func(doc map[string]any, name string) string {
		text, _ := doc[name].(string)
		return text[:min(len(text), 200)]
	}
	headers, _ := envelope["headers"].(map[string]any)
	properties, _ := envelope["properties"].(map[string]any)
	text, _ := envelope["body"].(string)
	body, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		body = []byte(text)
	}
	return amqp.Publishing{
		Headers: table(headers), Body: body, ContentType: short(envelope, "content-type"), ContentEncoding: short(envelope, "content-encoding"),
		CorrelationId: short(properties, "correlation_id"), ReplyTo: short(properties, "reply_to"), MessageId: short(properties, "delivery_tag"),
	}
}

// control sends requests and events of strangers, and sees that the worker still answers.
func (h *hostility) control(t *testing.T) {
	t.Helper()
	var raws []string
	for i, raw := range slices.Sorted(maps.Values(garbage)) {
		if i%3 == h.rounds%3 && len(raw) < 100_000 {
			raws = append(raws, raw)
		}
	}
	m := newMutator(uint64(h.rounds))
	for command, arguments := range map[string][]string{
		"ping": {}, "revoke": {"task_id", "terminate", "signal"}, "terminate": {"signal", "task_id"}, "revoke_by_stamped_headers": {"headers", "terminate"},
		"rate_limit": {"task_name", "rate_limit"}, "time_limit": {"task_name", "soft", "hard"}, "pool_grow": {"n"}, "pool_shrink": {"n"}, "autoscale": {"max", "min"},
		"hello": {"from_node", "revoked"}, "query_task": {"ids"}, "election": {"id", "topic", "action"}, "memdump": {"samples"}, "objgraph": {"num", "max_depth", "type"},
		"registered": {"taskinfoitems", "builtins"}, "conf": {"with_defaults"}, "nosuch": {"x"}, "disable_events": {"x"}, "heartbeat": {"x"},
	} {
		given := map[string]any{}
		for _, name := range arguments {
			if given[name] = m.wild(); m.IntN(5) == 0 {
				delete(given, name)
			}
		}
		if given["task_name"] != nil {
			given["task_name"] = "tapp.nap" // others are to run
		}
		request := map[string]any{
			"method": command, "arguments": given, "destination": nil, "pattern": nil, "matcher": nil, "ticket": "t",
			"reply_to": map[string]any{"exchange": "reply.celery.pidbox", "routing_key": "nobody"},
		}
		body := written(t, request)
		raws = append(raws, taskMessage(t, "request", command, "application/json", []byte(body), nil))
		if m.IntN(2) == 0 {
			request[[]string{"method", "arguments", "destination", "pattern", "matcher", "ticket", "reply_to"}[m.IntN(7)]] = m.wild()
			raws = append(raws, taskMessage(t, "request", command, "application/json", []byte(written(t, request)), nil))
		}
	}
	for _, event := range []string{"worker.heartbeat", "worker.online", "task.multi"} {
		for range 5 {
			body := written(t, map[string]any{"type": strings.ReplaceAll(event, ".", "-"), "hostname": m.wild(), "clock": m.wild(), "timestamp": m.wild(), "utcoffset": m.wild(), "pid": m.wild()})
			h.broadcast(t, "celeryev", event, taskMessage(t, "event", event, "application/json", []byte(body), nil))
		}
		h.broadcast(t, "celeryev", event, raws[m.IntN(len(raws))])
	}
	for _, raw := range raws {
		h.broadcast(t, "celery.pidbox", "", raw)
	}
	h.rounds++
	asker := h.server.asker(t)
	replies, err := (&control.Client{Broadcaster: asker, Asker: asker}).Ask(t.Context(), control.Question{
		Command: "ping", Destination: []string{"w1@host"}, Timeout: patience,
	}, nil)
	if err != nil || len(replies) != 1 {
		t.Fatalf("the worker does not answer: %v", err)
	}
}

// broadcast sends to a channel of kombu's, or to an exchange.
func (h *hostility) broadcast(t *testing.T, exchange, key, raw string) {
	t.Helper()
	if h.server.vhost == nil {
		channel := "/0." + exchange
		if key != "" {
			channel += "/" + key
		}
		h.server.do(t, "PUBLISH", channel, raw)
		return
	}
	ch := rabbittest.Channel(t, h.server.vhost.URL())
	defer ch.Close()
	if err := ch.PublishWithContext(t.Context(), exchange, key, false, false, lenientPublishing(raw)); err != nil {
		t.Fatal(err)
	}
}

// judge looks at what became of all.
func (h *hostility) judge(t *testing.T) {
	t.Helper()
	h.stop()
	eventually(t, patience, "all good tasks have run", func() bool { return h.server.journalLen(t, "stamps") == len(h.good) })
	worst := time.Duration(0)
	for _, stamp := range h.server.journalKeys(t, "stamps") {
		var key string
		var at float64
		if _, err := fmt.Sscan(stamp, &key, &at); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Duration(at*1e9)-time.Duration(h.good[key].UnixNano()))
	}
	peak := memory(t, h.worker, "VmHWM")
	t.Logf("%d good tasks ran, the latest after %v; the worker needed %d MiB", len(h.good), worst, peak>>20)
	// It hands them out again in at least that time, while it also takes in good tasks.
	if most := allow(time.Second+3*h.longest, h.began); worst > most {
		t.Errorf("a good task ran after %v; %v at most is good, as the broker needed %v for a part of the bad ones", worst, most, h.longest)
	}
	if peak > memoryLimit {
		t.Errorf("the worker needed %d MiB", peak>>20)
	}
	log := h.worker.log
	letters := len(deadLetters(t, h.server.app()))
	if left := letters + log.count("Received unregistered task of type") + log.count("] received") - len(h.good); left < h.sent {
		t.Errorf("%d of %d messages are neither in the log nor among the %d dead letters", h.sent-left, h.sent, letters)
	}
	h.worker.signal(t, syscall.SIGTERM)
	if code := h.worker.exitCode(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
