package compat_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"
)

// hit does the fault to someone.
func (s *storm) hit(h *hit, do func()) {
	s.t.Helper()
	h.fault = s.fault
	s.strike(s.t, h, do)
}

// victim waits for a worker to be given work, or, now and then, to be about to start, and tells which.
func (s *storm) victim() int {
	s.t.Helper()
	i := rand.IntN(besieged)
	if s.kind == "mixed" {
		i = 0
	}
	if rand.IntN(8) > 0 {
		s.during("a worker is given work", func() bool { return s.began(s.who(i), s.since[i]) })
	}
	s.work(200 * time.Millisecond)
	return i
}

// kill is kill -9 for a worker: for all its processes, or for itself alone.
func (s *storm) kill(i int) {
	w := s.workers[i]
	if rand.IntN(2) == 0 {
		w.kill()
		return
	}
	_ = w.cmd.Process.Kill()
	<-w.done
}

// replace starts a worker where one has ended.
func (s *storm) replace(i int) {
	s.t.Helper()
	for _, bad := range []string{"\npanic: ", "\nfatal error: ", "DATA RACE"} {
		if s.workers[i].log.contains(bad) {
			s.t.Errorf("%q in the log of %s:\n%s", bad, s.who(i), tail(s.workers[i].log.String(), 6000))
		}
	}
	s.listen()
	s.logs = append(s.logs, s.workers[i].log.String())
	s.workers[i].log.Reset()
	s.mute[i] = 0
	if s.left[i] != nil {
		s.left[i].kill()
	}
	s.left[i] = s.workers[i]
	s.gone(s.who(i))
	s.start(i)
}

func stormKill(s *storm) {
	i := s.victim()
	s.hit(&hit{who: []string{s.who(i) + "/"}}, func() { s.kill(i) })
	s.replace(i)
}

func stormTerm(s *storm) {
	i := s.victim()
	s.hit(&hit{who: []string{s.who(i) + "/"}}, func() {
		s.signal(i, syscall.SIGTERM)
		s.work(100 * time.Millisecond)
		s.kill(i)
	})
	s.replace(i)
}

func stormFreeze(s *storm) {
	i := s.victim()
	most := 500 * time.Millisecond
	if rand.IntN(5) == 0 {
		most = 3 * siegeHeartbeat * time.Second // others take it for dead
	}
	s.hit(&hit{who: []string{s.who(i) + "/"}}, func() {
		pid := -s.workers[i].cmd.Process.Pid
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		s.work(most)
		_ = syscall.Kill(pid, syscall.SIGCONT)
	})
	s.since[i] = s.notes
}

// stormChild kills a process that runs tasks in Python: mostly one that does just now.
func stormChild(s *storm) {
	i := rand.IntN(besieged)
	var busy []string
	s.during("there are children at work", func() bool {
		busy = busy[:0]
		for who, runs := range s.running {
			if strings.HasPrefix(who, s.who(i)+"/") && len(runs) > 0 && who != s.itself(i) {
				busy = append(busy, who)
			}
		}
		return len(busy) > 0
	})
	who := busy[rand.IntN(len(busy))]
	var pid int
	_, _ = fmt.Sscan(who[strings.Index(who, "/")+1:], &pid) // as tapp has noted
	s.hit(&hit{who: []string{who}}, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	delete(s.running, who)
}

// itself is how a worker notes what it runs in Go.
func (s *storm) itself(i int) string {
	return fmt.Sprintf("%s/%d", s.who(i), s.workers[i].cmd.Process.Pid)
}

// stormServer kills a fork server, and with it the children that it has.
func stormServer(s *storm) {
	i := rand.IntN(besieged)
	var server int
	s.during("there are children", func() bool {
		for _, pid := range childrenOf(s.t, s.workers[i].cmd.Process.Pid) {
			if children := childrenOf(s.t, pid); len(children) > 0 {
				server = pid
				return true
			}
		}
		return false
	})
	s.work(300 * time.Millisecond)
	h := &hit{}
	for _, pid := range childrenOf(s.t, server) {
		h.who = append(h.who, fmt.Sprintf("%s/%d", s.who(i), pid))
	}
	s.hit(h, func() { _ = syscall.Kill(server, syscall.SIGKILL) })
	for _, who := range h.who {
		delete(s.running, who)
	}
}

func stormBeat(s *storm) {
	i := s.leader()
	s.work(500 * time.Millisecond)
	s.hit(&hit{}, func() { s.beats[i].kill() })
	s.beats[i].log.Reset()
	s.startBeat(i)
}

// stormAll does what every worker feels, when all have work again.
func stormAll(s *storm) {
	s.during("all workers have work", func() bool {
		for i := range s.workers {
			if !s.began(s.who(i), s.since[i]) {
				return false
			}
		}
		return true
	})
	s.work(200 * time.Millisecond)
	s.hit(&hit{all: true}, func() { s.fault.do(s.siege) })
	for i := range s.since {
		s.since[i] = s.notes
	}
}
