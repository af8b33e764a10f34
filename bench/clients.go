package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"
)

// processes is how many clients there are: while one waits for long, the others go on.
const processes = 4

// clients are processes with the real Celery that send tasks and wait for the results: see bench_probe.py.
type clients struct {
	list    []*exec.Cmd
	stdin   []io.Writer
	told    chan told
	running sync.WaitGroup
}

// told is what a client says: that it is warm, then how long it has waited for each result; or that it is no more.
type told struct {
	waited []time.Duration
	err    error
}

// early is the error of a client that says something when it should be at work.
func (c told) early() error {
	if c.err == nil {
		return errors.New("bench_probe.py is done early")
	}
	return c.err
}

// withClients does something with clients that are warm.
func withClients[T any](s *server, what func(*clients) (T, error)) (result T, err error) {
	var list []*exec.Cmd
	for i := range processes {
		const interval = float64(processes) / probesPerSecond
		cmd, _ := command(s, *python+"/python", "bench_probe.py", fmt.Sprint(probes/processes), fmt.Sprint(interval), fmt.Sprint(float64(i)/probesPerSecond))
		list = append(list, cmd)
	}
	all, err := startClients(list)
	defer all.stop()
	if err != nil {
		return result, err
	}
	return what(all)
}

// startClients starts them and waits until all are warm.
func startClients(list []*exec.Cmd) (*clients, error) {
	all := &clients{told: make(chan told, 2*len(list))}
	for _, cmd := range list {
		errs := new(bytes.Buffer)
		cmd.Stdout, cmd.Stderr = nil, errs
		out, err := cmd.StdoutPipe()
		if err != nil {
			return all, err
		}
		in, err := cmd.StdinPipe()
		if err != nil {
			return all, err
		}
		if err := cmd.Start(); err != nil {
			return all, err
		}
		all.list, all.stdin = append(all.list, cmd), append(all.stdin, in)
		all.running.Go(func() { all.listen(cmd, out, errs) })
	}
	for range list {
		if c := <-all.told; c.err != nil {
			return all, c.err
		}
	}
	return all, nil
}

// listen passes on what a client says, and that it has ended before it has said all.
func (all *clients) listen(cmd *exec.Cmd, out io.Reader, errs *bytes.Buffer) {
	lines := bufio.NewReader(out)
	for range 2 {
		var c told
		line, err := lines.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &c.waited)
		}
		if err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			c.err = fmt.Errorf("bench_probe.py has ended (%v): %w\n%s", cmd.ProcessState, err, errs)
			all.told <- c
			return
		}
		all.told <- c
	}
	_ = cmd.Wait() // it has said all
}

// begin lets them send their tasks.
func (all *clients) begin() error {
	for _, in := range all.stdin {
		if _, err := io.WriteString(in, "\n"); err != nil {
			select {
			case c := <-all.told: // says why
				return c.early()
			case <-time.After(time.Second):
				return err
			}
		}
	}
	return nil
}

func (all *clients) stop() {
	for _, cmd := range all.list {
		_ = cmd.Process.Kill()
	}
	all.running.Wait()
}
