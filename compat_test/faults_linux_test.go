package compat_test

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"
)

// fault is something that is done to workers, their network or their broker while tasks run.
type fault struct {
	name   string
	on     string // the broker it concerns; "": redis and rabbitmq
	do     func(s *siege)
	strike func(s *storm) // how it is done one after the other; nil: it is not
	own    bool           // it happens to the first worker alone, and so to none of Celery's in a mixed fleet
	long   bool           // it takes long, and is left out where everything is done once
	also   int            // how often it is done again in each round
	pool   bool           // it happens to processes in which the first worker runs tasks in Python: those end
	beats  bool           // it happens to beats
	cuts   int            // how many of them may, at most; 0: see bounds
	// notice is how long it may take to find out, as nobody is told: it comes on top of what the recovery takes.
	notice time.Duration

	kills   bool // early tasks that run in a worker end with it
	clean   bool // nothing runs again
	unacks  bool // acknowledgements that nobody confirms may be lost on their way, and early tasks run again
	forgets bool // and those that had arrived
	drops   bool // messages are deleted
	freezes bool // nobody is killed, and a run may have been about to begin
	rewinds bool // the broker is as it was when the fault began, so that what has been done since is done again
}

// faults are done in this order, so that the gravest come last.
var faults = []*fault{
	{name: "a worker is killed", own: true, also: 3, kills: true, unacks: true, strike: stormKill, do: func(s *siege) { s.workers[0].kill(); s.start(0) }},
	{name: "a worker is killed while it ends", own: true, kills: true, unacks: true, strike: stormTerm, do: func(s *siege) {
		s.signal(0, syscall.SIGTERM)
		s.workers[0].kill()
		s.start(0)
	}},
	{name: "a worker is interrupted twice", own: true, kills: true, unacks: true, do: func(s *siege) { s.shutdown(syscall.SIGINT, syscall.SIGINT) }},
	{name: "a worker quits", own: true, kills: true, unacks: true, do: func(s *siege) { s.shutdown(syscall.SIGQUIT) }},
	{name: "a worker is frozen", own: true, freezes: true, strike: stormFreeze, do: func(s *siege) { s.freeze(0) }, notice: 2 * time.Second},
	{name: "a worker is frozen for long", own: true, long: true, do: func(s *siege) { s.freeze((siegeVisibility + 2) * time.Second) }, notice: 2 * time.Second},
	{name: "a child is killed", pool: true, kills: true, cuts: 8, strike: stormChild, do: func(s *siege) { s.killChildren(8, s.children) }},
	{name: "a fork server is killed", pool: true, kills: true, cuts: 3 * siegeSlots, strike: stormServer, do: func(s *siege) { s.killChildren(3, s.forkServers) }},
	{name: "a beat is killed", beats: true, clean: true, strike: stormBeat, do: killBeat},
	{name: "a beat is frozen", beats: true, clean: true, do: freezeBeat},
	{name: "the workers are restarted in turn", own: true, clean: true, do: rollingRestart},
	{name: "the network cuts connections", unacks: true, strike: stormAll, do: func(s *siege) { s.network.cut() }},
	{name: "the network resets connections", unacks: true, strike: stormAll, do: func(s *siege) { s.network.reset() }},
	{name: "connections are half closed", unacks: true, strike: stormAll, do: func(s *siege) { s.network.halfClose() }},
	{name: "the network refuses connections", unacks: true, notice: 2 * time.Second, do: func(s *siege) {
		s.network.set(func(n *network) { n.refuses = true })
		s.network.cut()
		s.waitAll("Cannot connect to")
		s.beatSays("beat: Connection error", "a beat notices", func(int) bool { return true })
		s.network.set(func(n *network) { n.refuses = false })
	}},
	{name: "the network delays", clean: true, do: func(s *siege) {
		s.network.set(func(n *network) { n.delay = 100 * time.Millisecond })
		s.goOn()
		s.network.set(func(n *network) { n.delay = 0 })
	}},
	{name: "connections vanish", unacks: true, notice: 2 * siegeHeartbeat * time.Second, do: func(s *siege) { s.network.vanish() }},
	{name: "an answer is truncated", unacks: true, do: func(s *siege) { s.network.truncate(); s.await("it was", s.network.spoiled) }},
	{name: "an answer is garbage", unacks: true, notice: 2 * siegeHeartbeat * time.Second, do: func(s *siege) { s.network.garble(); s.await("it was", s.network.spoiled) }},
	{name: "the broker closes connections", on: "rabbitmq", unacks: true, do: func(s *siege) { s.server.vhost.CloseConnections(s.t) }},
	{name: "the broker closes channels", on: "rabbitmq", unacks: true, do: func(s *siege) { s.server.vhost.CloseChannels(s.t) }},
	{name: "the broker has an alarm", on: "rabbitmq", clean: true, do: alarm},
	{name: "the broker is killed", on: "rabbitmq", unacks: true, forgets: true, strike: stormAll, do: func(s *siege) { s.rabbit.Restart(s.t) }, notice: 4 * time.Second},
	{name: "SCRIPT FLUSH", on: "redis", clean: true, do: func(s *siege) { s.server.do(s.t, "SCRIPT", "FLUSH") }},
	{name: "Redis is full", on: "redis", clean: true, do: func(s *siege) {
		s.server.do(s.t, "CONFIG", "SET", "maxmemory", "1")
		s.waitOne("maxmemory")
		s.server.do(s.t, "CONFIG", "SET", "maxmemory", "0")
	}, notice: 4 * time.Second},
	{name: "Redis is a replica", on: "redis", clean: true, do: func(s *siege) {
		s.server.do(s.t, "REPLICAOF", "127.0.0.1", "1")
		s.waitOne("read only")
		s.server.do(s.t, "REPLICAOF", "NO", "ONE")
	}, notice: 4 * time.Second},
	{name: "Redis has another password", on: "redis", do: func(s *siege) {
		s.server.do(s.t, "CONFIG", "SET", "requirepass", "secret")
		s.network.cut()
		s.waitOne("uthentication")
		s.server.doAs(s.t, ":secret", "CONFIG", "SET", "requirepass", "")
	}, notice: 4 * time.Second},
	{name: "Redis denies its keys", on: "redis", do: func(s *siege) {
		const admin, password = "admin", "secret"
		s.server.do(s.t, "ACL", "SETUSER", admin, "on", ">"+password, "~*", "&*", "+@all")
		s.server.do(s.t, "ACL", "SETUSER", "default", "resetkeys")
		s.waitOne("permission")
		s.server.doAs(s.t, admin+":"+password, "ACL", "SETUSER", "default", "~*")
	}, notice: 4 * time.Second},
	{name: "Redis has no room for clients", on: "redis", do: func(s *siege) {
		s.server.do(s.t, "CONFIG", "SET", "maxclients", "1")
		s.network.cut()
		s.waitOne("max number of clients")
		eventually(s.t, patience, "there is room", func() bool {
			s.server.signal(s.t, syscall.SIGSTOP) // whoever is connected keeps others out
			s.network.cut()
			s.server.signal(s.t, syscall.SIGCONT)
			_, err := s.server.try("CONFIG", "SET", "maxclients", "1000")
			return err == nil
		})
	}, notice: 4 * time.Second},
	{name: "Redis is frozen", on: "redis", clean: true, do: func(s *siege) {
		s.server.signal(s.t, syscall.SIGSTOP)
		time.Sleep(siegeHeartbeat * time.Second / 2) // it is the fault itself that takes time
		s.server.signal(s.t, syscall.SIGCONT)
	}},
	{name: "Redis is stopped", on: "redis", do: func(s *siege) {
		s.server.signal(s.t, syscall.SIGTERM)
		s.server.exitCode(s.t)
		s.server.start(s.t)
	}, notice: 2 * time.Second},
	{name: "Redis is killed", on: "redis", strike: stormAll, do: func(s *siege) { s.server.kill(); s.server.startAgain(s.t) }, notice: 2 * time.Second},
	{name: "Redis is as it was", on: "redis", unacks: true, rewinds: true, do: rewind, notice: 2 * time.Second},
	{name: "the master is killed", on: "sentinel", unacks: true, rewinds: true, do: killMaster, notice: 2 * time.Second},
	{name: "the master hangs", on: "sentinel", unacks: true, rewinds: true, do: hangMaster, notice: 2 * siegeHeartbeat * time.Second},
	{name: "FLUSHALL", on: "redis", drops: true, do: func(s *siege) { s.server.do(s.t, "FLUSHALL") }, notice: 4 * time.Second},
}

// faultsFor are those that are done to workers of a kind on a broker.
func faultsFor(broker, kind string) (chosen []*fault) {
	for _, f := range faults {
		switch {
		case f.on != broker && (f.on != "" || broker == "sentinel"):
		case kind == "mixed" && !f.own, kind == "celery" && f.beats, kind != "children" && f.pool:
		default:
			chosen = append(chosen, f)
		}
	}
	return chosen
}

// freeze stops a worker for so long that others have its messages, and at least for some time.
func (s *siege) freeze(least time.Duration) {
	began, pid := time.Now(), -s.workers[0].cmd.Process.Pid
	connections := func() int { return 0 }
	if s.rabbit != nil {
		connections = func() int { return len(s.server.vhost.Connections(s.t)) }
	}
	before := connections()
	_ = syscall.Kill(pid, syscall.SIGSTOP) // one that has ended is noticed
	if s.rabbit != nil {
		s.await("the broker takes the worker for dead", func() bool { return connections() < before })
	} else {
		s.await("the messages of the worker are done", func() bool { return s.server.idle(s.t, "celery") })
	}
	time.Sleep(time.Until(began.Add(least))) // it is the fault itself that takes time
	_ = syscall.Kill(pid, syscall.SIGCONT)
}

// forkServers are those of the first worker.
func (s *siege) forkServers() []int { return childrenOf(s.t, s.workers[0].cmd.Process.Pid) }

// children are the processes in which its tasks run.
func (s *siege) children() (pids []int) {
	for _, server := range s.forkServers() {
		pids = append(pids, childrenOf(s.t, server)...)
	}
	return pids
}

// killChildren kills so many processes of a kind, while tasks run.
func (s *siege) killChildren(n int, kind func() []int) {
	s.t.Helper()
	for range n {
		s.await("there are children", func() bool { return len(s.children()) > 0 })
		if pids := kind(); len(pids) > 0 {
			_ = syscall.Kill(pids[rand.IntN(len(pids))], syscall.SIGKILL) // one that has ended is as good
		}
		s.goOn()
	}
}

// signal sends a worker a signal, unless it has ended.
func (s *siege) signal(i int, sig syscall.Signal) { _ = s.workers[i].cmd.Process.Signal(sig) }

// shutdown ends the first worker by signals, and starts another.
func (s *siege) shutdown(signals ...syscall.Signal) {
	s.t.Helper()
	w := s.workers[0]
	for i, sig := range signals {
		if i > 0 {
			s.await("the worker has heard it", func() bool { return w.log.contains("shutdown") || w.stopped() })
			time.Sleep(200 * time.Millisecond) // the same signal at once is taken for its echo
		}
		s.signal(0, sig)
	}
	if !comesTrue(patience, w.stopped) {
		if !s.celerys() {
			s.t.Fatal("the worker does not end")
		}
		w.kill()
	}
	s.start(0)
}

// rewind starts Redis again with what it had saved when the fault began.
func rewind(s *siege) {
	s.server.do(s.t, "SAVE")
	s.goOn()
	s.server.kill()
	args := s.server.args
	s.server.args = nil // it reads what was saved, not what was appended
	s.server.start(s.t)
	s.server.args = args
	s.server.do(s.t, "CONFIG", "SET", "appendonly", "yes")
	s.await("what Redis has is appended to again", func() bool {
		info, err := redis.String(s.server.try("INFO", "persistence"))
		return err == nil && strings.Contains(info, "aof_enabled:1") && strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0")
	})
	s.server.do(s.t, "CONFIG", "SET", "appendfsync", "always")
}

// rollingRestart ends one worker after the other, and none of Celery's beside ours, as these do not always end.
func rollingRestart(s *siege) {
	for i, w := range s.workers {
		if s.kind == "mixed" && s.isCelerys(i) {
			continue
		}
		w.signal(s.t, syscall.SIGTERM)
		if code := w.exitCode(s.t); code != 0 && !s.isCelerys(i) {
			s.t.Errorf("exit code %d", code)
		}
		s.start(i)
		s.workers[i].waitLog(s.t, " ready.")
	}
}

// alarm lets RabbitMQ be short of memory until the workers have found out. They go on with what they have.
func alarm(s *siege) {
	s.rabbit.Alarm(s.t)
	if s.celerys() {
		s.goOn()
		s.rabbit.Calm(s.t)
		return
	}
	for _, w := range s.workers {
		s.await("/readyz says that the broker takes no messages", func() bool {
			status, says, blocked := s.ready(w)
			return status == 503 && strings.Contains(says, "takes no messages") && blocked == 1
		})
	}
	s.rabbit.Calm(s.t)
	for _, w := range s.workers {
		s.await("/readyz says that it does", func() bool {
			status, _, blocked := s.ready(w)
			return status == 200 && blocked == 0
		})
	}
}

// goOn waits until some tasks are done.
func (s *siege) goOn() {
	s.t.Helper()
	before := s.ledger.now(s.t).done
	s.await("work goes on", func() bool { return s.ledger.now(s.t).done > before+s.ledger.slots || s.idle() })
}

// await waits for what must happen. With Celery's workers it need not.
func (s *siege) await(what string, holds func() bool) {
	s.t.Helper()
	if s.celerys() {
		comesTrue(stall, holds)
		return
	}
	eventually(s.t, patience, what, holds)
}

// waitAll waits until all workers have said something again.
func (s *siege) waitAll(text string) { s.t.Helper(); s.waitFor(text, besieged) }

// waitOne waits until one worker has.
func (s *siege) waitOne(text string) { s.t.Helper(); s.waitFor(text, 1) }

func (s *siege) waitFor(text string, least int) {
	s.t.Helper()
	before := make([]int, besieged)
	for i, w := range s.workers {
		before[i] = w.log.count(text)
	}
	s.await("the workers say "+text, func() bool {
		n := 0
		for i, w := range s.workers {
			if w.log.count(text) > before[i] || w.stopped() {
				n++
			}
		}
		return n >= least
	})
}
