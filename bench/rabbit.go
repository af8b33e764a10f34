package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbit is a private RabbitMQ. It is alone: it needs no epmd.
type rabbit struct {
	url  string
	dir  string
	cmd  *exec.Cmd
	conn *amqp.Connection
	ch   *amqp.Channel
}

func startRabbit() (_ *rabbit, err error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	r := &rabbit{url: "amqp://guest:guest@127.0.0.1:" + port + "//"}
	if r.dir, err = os.MkdirTemp("", "bench-rabbit"); err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(r.dir, name) }
	config := "listeners.tcp.default = 127.0.0.1:" + port + "\ndisk_free_limit.absolute = 100MB\nvm_memory_high_watermark.absolute = 4GB\n" +
		"log.console = true\nlog.console.level = warning\n"
	for name, text := range map[string]string{"rabbitmq.conf": config, "enabled_plugins": "[]."} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	program, err := exec.LookPath(cmp.Or(os.Getenv("APIUM_RABBITMQ_SERVER"), "/usr/lib/rabbitmq/bin/rabbitmq-server"))
	if err != nil {
		return nil, fmt.Errorf("%w: apt-get install rabbitmq-server", err)
	}
	r.cmd = exec.Command(program, "-noinput", "-sname", "bench@localhost", "-dist_listen", "false", "-start_epmd", "false", "-erl_epmd_port", "1", "-setcookie", "bench")
	r.cmd.Env = append(os.Environ(),
		"HOME="+r.dir, "RABBITMQ_ALLOW_INPUT=true", "RABBITMQ_NODENAME=bench@localhost", "RABBITMQ_NODE_PORT="+port, "RABBITMQ_MNESIA_BASE="+at("mnesia"), "RABBITMQ_LOG_BASE="+at("log"),
		"RABBITMQ_LOGS=-", "RABBITMQ_PID_FILE="+at("pid"), "RABBITMQ_CONFIG_FILE="+at("rabbitmq"), "RABBITMQ_CONF_ENV_FILE="+at("none"),
		"RABBITMQ_GENERATED_CONFIG_DIR="+at("config"), "RABBITMQ_ENABLED_PLUGINS_FILE="+at("enabled_plugins"),
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+S 2:2 +sbwt none")
	out, err := os.Create(at("out.log"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	r.cmd.Stdout, r.cmd.Stderr = out, out
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	for range 600 {
		if r.conn, err = amqp.Dial(r.url); err == nil {
			r.ch, err = r.conn.Channel()
			return r, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	r.stop()
	return nil, fmt.Errorf("rabbitmq-server does not answer: %w", err)
}

func (r *rabbit) stop() {
	if r.conn != nil {
		_ = r.conn.Close()
	}
	stop(r.cmd)
	_ = os.RemoveAll(r.dir)
}

// rabbitContender is a worker on RabbitMQ.
type rabbitContender struct {
	name    string
	tasks   int
	queue   string // classic or quorum
	results string // rpc or redis; of what is no worker also none
	work    func(r *rabbit, results string) []string
}

func rabbitContenders() (all []rabbitContender) {
	apium := func(c string) func(*rabbit, string) []string {
		return func(r *rabbit, results string) []string {
			return []string{*bin + "/apium", "worker", "-b", r.url, "--result-backend", results, "-c", c, "-l", "ERROR"}
		}
	}
	celery := func(*rabbit, string) []string {
		return []string{*python + "/celery", "-A", "bench_rabbit", "worker", "-c", "2"}
	}
	children := func(*rabbit, string) []string {
		return []string{"env", "BENCH_WITHOUT=1", *bin + "/apium", "-A", "bench_rabbit", "--python", *python + "/python", "worker", "-c", "2"}
	}
	bare := func(results string) func(*rabbit, string) []string {
		return func(r *rabbit, _ string) []string { return []string{*bin + "/rabbit", r.url, "1024", results} }
	}
	for _, queue := range []string{"classic", "quorum"} {
		for _, results := range []string{"rpc", "redis"} {
			on := ", " + queue + ", " + results
			all = append(all,
				rabbitContender{"Apium -c 2" + on, 60_000, queue, results, apium("2")},
				rabbitContender{"Apium -c 50" + on, 60_000, queue, results, apium("50")},
				rabbitContender{"Apium -A -c 2, Python tasks" + on, 15_000, queue, results, children},
				rabbitContender{"Celery prefork -c 2" + on, 3000, queue, results, celery},
			)
		}
		for _, results := range []string{"rpc", "none"} {
			all = append(all, rabbitContender{"bare amqp091-go, " + queue + ", " + results, 60_000, queue, results, bare(results)})
		}
	}
	return all
}

// measureRabbit prints the table of workers on RabbitMQ.
func measureRabbit(pattern *regexp.Regexp) error {
	speeds := map[string][]speed{}
	var chosen []contender
	for round := range *rounds {
		for _, c := range rabbitContenders() {
			if !pattern.MatchString(c.name) {
				continue
			}
			s, err := c.measure()
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			say(c.name, s)
			speeds[c.name] = append(speeds[c.name], s)
			if round == 0 {
				chosen = append(chosen, contender{name: c.name})
			}
		}
	}
	table(chosen, speeds, against{celeryPrefork, func(name string) string {
		_, on, _ := strings.Cut(name, ", ")
		return celeryPrefork + ", " + strings.TrimPrefix(on, "Python tasks, ")
	}})
	return nil
}

func (c *rabbitContender) measure() (speed, error) {
	r, err := startRabbit()
	if err != nil {
		return speed{}, err
	}
	defer r.stop()
	s, err := startRedis()
	if err != nil {
		return speed{}, err
	}
	defer s.stop()
	backend := "rpc://"
	if c.results == "redis" {
		backend = "redis://" + s.addr + "/0"
	}
	n := max(100, int(float64(c.tasks)**scale))
	environ := []string{"BENCH_RABBIT=" + r.url, "BENCH_RESULTS=" + backend, "BENCH_QUEUE=" + c.queue}
	results, err := c.fill(r, s, n, environ)
	if err != nil {
		return speed{}, err
	}
	cmd, out := command(s, c.work(r, backend)...)
	cmd.Env = append(cmd.Env, environ...)
	if *cpu != "" {
		cmd.Env = append(cmd.Env, "BENCH_CPU="+*cpu)
	}
	if err := cmd.Start(); err != nil {
		return speed{}, err
	}
	defer stop(cmd)
	used := &usage{worker: cmd.Process.Pid, broker: r.cmd.Process.Pid, profiled: *cpu != ""}
	elapsed, err := c.workOff(r, s, results, used)
	if err != nil {
		return speed{}, fmt.Errorf("%w\n%s", err, out)
	}
	return used.speed(n, elapsed), nil
}

// replies is the queue that results go to: it is read by nobody, and its length tells how many have come.
const replies = "bench-replies"

// fill has the real Celery publish a message, and publishes it n times under other ids.
func (c *rabbitContender) fill(r *rabbit, s *server, n int, environ []string) (results []string, err error) {
	if _, err := r.ch.QueueDeclare(replies, true, false, false, false, nil); err != nil {
		return nil, err
	}
	cmd, out := command(s, *python+"/python", "bench_rabbit.py")
	cmd.Env = append(cmd.Env, environ...)
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("the producer of Celery: %w\n%s", err, out)
	}
	if err := r.fills("celery", 1); err != nil {
		return nil, err
	}
	m, ok, err := r.ch.Get("celery", true)
	if err != nil || !ok {
		return nil, fmt.Errorf("the producer of Celery left no message: %w", err)
	}
	if err := r.ch.Confirm(false); err != nil {
		return nil, err
	}
	var last *amqp.DeferredConfirmation
	for range n {
		id := uuid()
		results = append(results, metaPrefix+id)
		headers := amqp.Table{}
		for name, value := range m.Headers {
			if name == "id" || name == "root_id" {
				value = id
			}
			headers[name] = value
		}
		last, err = r.ch.PublishWithDeferredConfirm("", "celery", false, false, amqp.Publishing{
			ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, Headers: headers, DeliveryMode: m.DeliveryMode,
			CorrelationId: id, ReplyTo: replies, Body: m.Body,
		})
		if err != nil {
			return nil, err
		}
	}
	last.Wait()
	return results, r.fills("celery", n)
}

// fills waits until so many messages are in a queue: those of quorum queues come a moment later.
func (r *rabbit) fills(queue string, n int) (err error) {
	for length := 0; length < n && err == nil; time.Sleep(10 * time.Millisecond) {
		length, err = r.length(queue)
	}
	return err
}

func (r *rabbit) length(queue string) (int, error) {
	q, err := r.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	return q.Messages, err
}

// workOff waits until a worker has worked off its queue.
func (c *rabbitContender) workOff(r *rabbit, s *server, results []string, used *usage) (elapsed time.Duration, err error) {
	begun := time.Time{}
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		left, err := r.length("celery")
		if err != nil {
			return 0, err
		}
		if begun.IsZero() && left < len(results) {
			begun = time.Now()
			used.begin()
		}
		if left > 0 {
			continue
		}
		complete := c.results == "none"
		switch c.results {
		case "redis":
			complete, err = s.all(results, exist)
		case "rpc":
			var n int
			n, err = r.length(replies)
			complete = n >= len(results)
		}
		if err != nil {
			return 0, err
		}
		if complete {
			elapsed = time.Since(begun)
			used.end()
			return elapsed, nil
		}
	}
	return 0, fmt.Errorf("not finished after three minutes")
}
