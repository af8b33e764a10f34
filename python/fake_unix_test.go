//go:build unix

package python

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// This program plays the Python processes, too: the fork server and its children, with what
// passes between these and the worker, and misbehaves as it is told. So no Python is needed.
const (
	roleVariable   = "APIUM_TEST_ROLE"
	folderVariable = "APIUM_TEST_FOLDER" // has the files that say how to behave
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "server":
		(&fakeServer{pids: map[int]*os.Process{}, pages: map[int]*os.File{}}).run()
	case "child":
		(&fakeChild{}).run()
	default:
		goleak.VerifyTestMain(m)
	}
	os.Exit(0)
}

// told is what a file of the folder says; "": there is none.
func told(name string) string {
	text, err := os.ReadFile(filepath.Join(os.Getenv(folderVariable), name))
	if err != nil {
		return ""
	}
	return string(text)
}

// once tells whether this is the first time that something happens.
func once(name string) bool {
	f, err := os.OpenFile(filepath.Join(os.Getenv(folderVariable), "once-"+name), os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

type fakeServer struct {
	mu    sync.Mutex
	conn  *net.UnixConn
	pids  map[int]*os.Process
	pages map[int]*os.File
}

func (s *fakeServer) say(v any) {
	line, _ := json.Marshal(v)
	_, _ = s.conn.Write(append(line, '\n'))
}

func (s *fakeServer) run() {
	s.conn, _ = unixConn(os.NewFile(3, "control"))
	_, _ = io.Copy(io.Discard, os.NewFile(4, "driver"))
	switch told("load") {
	case "broken":
		s.say(map[string]any{"op": "broken", "error": "a text", "traceback": "a traceback", "type": "ValueError"})
		return
	case "dies":
		os.Exit(1)
	case "hangs":
		select {}
	case "garbage":
		_, _ = s.conn.Write([]byte("{\n"))
		select {}
	case "strange":
		_, _ = s.conn.Write([]byte(`{"op": "manifest", "tasks": 1}` + "\n"))
		select {}
	}
	tasks := map[string]any{}
	for _, name := range append(strings.Fields("echo echo_late raise die soft hard stop mute close garbage wrong hold unread orphan leave large forked"), strings.Fields(told("tasks"))...) {
		tasks[name] = map[string]any{"acks_late": name == "echo_late", "max_retries": 3, "rate_limit": nil}
	}
	tasks["claim"] = map[string]any{"acks_late": true, "reject_on_worker_lost": true}
	tasks["soft"] = map[string]any{"soft_time_limit": 0.05, "time_limit": 60, "default_retry_delay": 180, "rate_limit": "100/s"}
	tasks["green"] = map[string]any{"soft_time_limit": 0.01, "time_limit": 60}
	tasks["limited"] = map[string]any{"time_limit": 0.3}
	tasks["hard"] = map[string]any{"time_limit": 0.3, "rate_limit": 1000}
	s.say(map[string]any{"op": "manifest", "pid": os.Getpid(), "tasks": tasks, "proc_alive_timeout": 2.0, "pool": cmp.Or(told("pool"), "prefork"), "process": cmp.Or(told("process"), "ForkPoolWorker")})
	s.listen()
}

func (s *fakeServer) listen() {
	buf, oob := make([]byte, 4096), make([]byte, 512)
	var rest []byte
	var files []int
	for {
		n, oobn, _, _, err := s.conn.ReadMsgUnix(buf, oob)
		if err != nil || n == 0 {
			break
		}
		messages, _ := syscall.ParseSocketControlMessage(oob[:oobn])
		for i := range messages {
			fds, _ := syscall.ParseUnixRights(&messages[i])
			files = append(files, fds...)
		}
		rest = append(rest, buf[:n]...)
		for {
			line, after, found := strings.Cut(string(rest), "\n")
			if !found {
				break
			}
			rest = []byte(after)
			var order struct {
				Op            string
				Child, Signum int
				Job           uint64
			}
			_ = json.Unmarshal([]byte(line), &order)
			if order.Op == "spawn" {
				s.spawn(order.Child, files[0], files[1])
				files = files[2:]
			} else {
				s.kill(order.Child, order.Signum, order.Job)
			}
		}
	}
	s.mu.Lock()
	for _, p := range s.pids {
		_ = p.Kill()
	}
	os.Exit(0)
}

func (s *fakeServer) spawn(child, fd, page int) {
	socket, memory := os.NewFile(uintptr(fd), "socket"), os.NewFile(uintptr(page), "page")
	defer socket.Close()
	if told("spawn") == "fails" {
		s.say(map[string]any{"op": "exited", "child": child, "why": "cannot start a process: no memory"})
		return
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=child")
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, []*os.File{socket, memory}
	if err := startWithParent(cmd, func(code int) { s.ended(child, code) }); err != nil {
		panic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pids[child], s.pages[child] = cmd.Process, memory
}

func (s *fakeServer) ended(child, code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pids, child)
	_ = s.pages[child].Close()
	delete(s.pages, child)
	s.say(map[string]any{"op": "exited", "child": child, "code": code})
}

func (s *fakeServer) kill(child, signum int, job uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pids[child]; p != nil {
		if job != 0 {
			_, _ = s.pages[child].WriteAt(binary.NativeEndian.AppendUint64(nil, job), 8)
		}
		_ = p.Signal(syscall.Signal(signum))
	}
}

type fakeChild struct {
	conn *net.UnixConn
	page *os.File
	soft chan os.Signal
	last uint64 // the highest number of a job
}

func (c *fakeChild) send(job uint64, head string, body string) {
	f := frame{job: job, head: []byte(head), body: []byte(body)}
	_ = f.write(c.conn)
}

func (c *fakeChild) run() {
	c.conn, _ = unixConn(os.NewFile(3, "socket"))
	c.page = os.NewFile(4, "page")
	c.soft = make(chan os.Signal, 1)
	signal.Notify(c.soft, syscall.SIGUSR1)
	switch told("start") {
	case "dies":
		os.Exit(1)
	case "mute":
		select {}
	case "slow": // longer than proc_alive_timeout
		time.Sleep(3 * time.Second)
	case "early":
		c.send(1, "{}", "")
		select {}
	}
	c.send(0, fmt.Sprintf(`{"up": %d}`, os.Getpid()), "")
	if told("start") == "deaf" {
		select {}
	}
	r := bufio.NewReader(c.conn)
	for {
		f, err := readFrame(r)
		if err != nil {
			return
		}
		var head struct {
			Headers struct{ Task, ID string }
			Call    string
			Failed  json.RawMessage
			Stop    bool
			Read    bool
		}
		_ = json.Unmarshal(f.head, &head)
		if head.Stop {
			c.send(f.job, `{"state": "RAISED", "type": "GreenletExit", "module": "greenlet", "message": []}`, "")
			continue
		}
		if head.Headers.Task == "unread" && once("unread") {
			os.Exit(9)
		}
		if head.Headers.Task == "orphan" && once("orphan") {
			_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
			select {} // the kernel ends it, too
		}
		c.last = max(c.last, f.job)
		_, _ = c.page.WriteAt(binary.NativeEndian.AppendUint64(nil, c.last), 0)
		if head.Read { // the body says what to do
			c.call(&f, string(f.body), "")
			continue
		}
		if head.Call != "" {
			c.call(&f, head.Call, string(head.Failed))
			continue
		}
		c.work(&f, head.Headers.Task, head.Headers.ID)
	}
}

func (c *fakeChild) succeed(job uint64, id, result string) {
	c.send(job, `{"state": "SUCCESS", "repr": "x", "runtime": 0.5}`, fmt.Sprintf(`{"status": "SUCCESS", "task_id": %q, "result": %q}`, id, result))
}

func (c *fakeChild) work(f *frame, task, id string) {
	switch task {
	case "raise":
		c.send(f.job, `{"state": "RAISED", "type": "MemoryError", "module": "builtins", "message": ["no"], "exception": "MemoryError('no')"}`, "")
	case "die":
		os.Exit(3)
	case "claim":
		if once("claimed") {
			_, _ = c.page.WriteAt(binary.NativeEndian.AppendUint64(nil, 1), 24)
			os.Exit(3)
		}
		c.succeed(f.job, id, "again")
	case "soft":
		<-c.soft
		stopped := make([]byte, 8)
		_, _ = c.page.ReadAt(stopped, 8)
		c.succeed(f.job, id, fmt.Sprint(binary.NativeEndian.Uint64(stopped) == f.job))
	case "hard", "stop":
		signal.Ignore(syscall.SIGTERM)
		_ = os.WriteFile(filepath.Join(os.Getenv(folderVariable), "runs"), nil, 0o600)
		select {}
	case "mute":
		_ = os.WriteFile(filepath.Join(os.Getenv(folderVariable), "runs"), nil, 0o600)
		select {}
	case "green", "limited": // goes on until it is stopped
		_ = os.WriteFile(filepath.Join(os.Getenv(folderVariable), "runs-"+id), nil, 0o600)
	case "close":
		_ = c.conn.Close()
		select {}
	case "garbage":
		_, _ = c.conn.Write([]byte(strings.Repeat("\xff", 4096)))
		select {}
	case "wrong":
		c.send(f.job+1, "{}", "")
		select {}
	case "hold":
		file, _ := c.conn.File()
		cmd := exec.Command("sleep", "1000")
		cmd.ExtraFiles = []*os.File{file}
		_ = cmd.Start()
		_ = os.WriteFile(filepath.Join(os.Getenv(folderVariable), "grandchild"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
		os.Exit(3)
	case "leave":
		c.send(f.job, `{"state": "SUCCESS", "leaving": true}`, fmt.Sprintf(`{"status": "SUCCESS", "task_id": %q, "result": "%d"}`, id, os.Getpid()))
		time.Sleep(20 * time.Millisecond)
		os.Exit(exitRecycled)
	default:
		c.succeed(f.job, id, told("version")+" "+strconv.Itoa(os.Getpid()))
	}
}

func (c *fakeChild) call(f *frame, task, failed string) {
	switch task {
	case "raise":
		c.send(f.job, `{"state": "RAISED", "type": "ValueError", "module": "builtins", "message": ["no"], "exception": "ValueError('no')"}`, "")
	case "unread":
		if once("call") {
			_, _ = c.page.WriteAt(make([]byte, 8), 0)
			os.Exit(9)
		}
		c.send(f.job, `{"state": "SUCCESS"}`, `"again"`)
	case "mute":
		select {}
	case "read":
		c.send(f.job, `{"state": "SUCCESS"}`, `{"task": "echo"}`)
	default:
		c.send(f.job, `{"state": "SUCCESS"}`, fmt.Sprintf("[%q, %s, %q]", task, f.body, failed))
	}
}
