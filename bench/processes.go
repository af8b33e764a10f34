package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of the times in /proc/<pid>/stat, on every Linux.
const tick = 10 * time.Millisecond

// family returns a process and all that are below it.
func family(root int) []int {
	below := map[int][]int{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if fields := stat(pid); fields != nil {
			parent, _ := strconv.Atoi(fields[1])
			below[parent] = append(below[parent], pid)
		}
	}
	pids := []int{root}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, below[pids[i]]...)
	}
	return pids
}

// stat returns the fields of /proc/<pid>/stat from the third on; nil if the process is gone.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 15 {
		return nil
	}
	return fields
}

// cpuTime is how long a process, those below it, and those it has waited for have computed.
func cpuTime(root int) (sum time.Duration) {
	if root == 0 {
		return 0
	}
	for _, pid := range family(root) {
		fields := stat(pid)
		if fields == nil {
			continue
		}
		for _, ticks := range fields[11:15] { // utime, stime, cutime, cstime
			n, _ := strconv.Atoi(ticks)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}

// usage is what a worker and its broker compute meanwhile.
type usage struct {
	worker, broker     int  // their processes
	profiled           bool // the worker is to write a profile
	ofWorker, ofBroker time.Duration
}

func (u *usage) begin() {
	u.ofWorker, u.ofBroker = cpuTime(u.worker), cpuTime(u.broker)
	if u.profiled {
		_ = syscall.Kill(u.worker, syscall.SIGUSR2) // if it has ended, that is found out
	}
}

func (u *usage) end() {
	u.ofWorker, u.ofBroker = cpuTime(u.worker)-u.ofWorker, cpuTime(u.broker)-u.ofBroker
	if u.profiled {
		_ = syscall.Kill(u.worker, syscall.SIGUSR2)
		time.Sleep(time.Second) // it is written
	}
}

// speed is that of n tasks, after end.
func (u *usage) speed(n int, elapsed time.Duration) speed {
	return speed{float64(n) / elapsed.Seconds(), u.ofWorker / time.Duration(n), u.ofBroker / time.Duration(n)}
}
