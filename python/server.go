package python

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"sync"
	"time"

	"github.com/apium/apium/internal/logline"
)

// server is a fork server, and what is known of its children.
type server struct {
	manifest *Manifest
	process  *os.Process
	control  *net.UnixConn
	log      *slog.Logger
	began    time.Time
	loaded   time.Time     // when it had loaded the app
	gone     chan struct{} // closed when the process has ended, and with it all of its children

	orders sync.Mutex // held while an order is written

	mu       sync.Mutex
	children map[int]*child // by number, from the order to fork them until they have ended
	held     int            // by stand-ins of the MainProcess
	retired  bool           // it ends with its last child, when nothing holds it
	ended    bool           // it was told to end, or has ended
}

// errGone is that of a fork server that has ended, or is about to.
var errGone = errors.New("python: the fork server has ended")

const (
	// slowLoad is after how long, and how often, it is said that an app is still loading.
	slowLoad = 10 * time.Second
	// endTime is how long a fork server may take to end by itself.
	endTime = 2 * time.Second
	// orderTime is how long a fork server may take to read an order. It does nothing else.
	orderTime = 10 * time.Second
)

// startServer starts a fork server and waits until it has loaded the app, and modules besides.
func startServer(ctx context.Context, opts *Options, modules []string, log *slog.Logger) (*server, error) {
	conn, theirs, err := connection()
	if err != nil {
		return nil, err
	}
	s := &server{control: conn, log: log, began: time.Now(), gone: make(chan struct{}), children: map[int]*child{}}
	ended, err := s.start(opts, modules, theirs)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	lines := bufio.NewReaderSize(conn, 1<<16)
	if err := s.awaitManifest(ctx, opts, lines, ended); err != nil {
		_ = s.process.Kill() // it has no children, and would not listen before it has loaded the app
		<-ended.done
		return nil, errors.Join(err, conn.Close())
	}
	s.loaded = time.Now()
	go s.listen(lines, ended)
	return s, nil
}

// start starts the process, with its end of the control socket as descriptor 3.
func (s *server) start(opts *Options, modules []string, theirs *os.File) (ended *ending, err error) {
	s.process, ended, err = opts.run("server", map[string]any{
		"app": opts.App, "argv": opts.Argv, "pool": opts.Pool, "user_options": opts.UserOptions, "worker": opts.arguments(), "modules": modules,
		"exporter": exporter, "starter": starter,
	}, theirs)
	return ended, err
}

func (o *Options) arguments() map[string]any {
	arguments := maps.Clone(o.Worker)
	if arguments == nil {
		arguments = map[string]any{}
	}
	if o.Pool != "" {
		arguments["pool"] = o.Pool
	}
	if o.Hostname != "" {
		arguments["hostname"] = o.Hostname
	}
	return arguments
}

// said is what a fork server says in one line.
type said struct {
	complaint
	Op    string `json:"op"`
	Child int    `json:"child"`
	Code  int    `json:"code"`
	Why   string `json:"why"`
}

// awaitManifest waits until the app is loaded.
func (s *server) awaitManifest(ctx context.Context, opts *Options, lines *bufio.Reader, ended *ending) error {
	stop := context.AfterFunc(ctx, func() { _ = s.control.SetReadDeadline(time.Now()) })
	loaded := make(chan struct{})
	defer close(loaded)
	go func() {
		for {
			select {
			case <-time.After(slowLoad):
				s.log.Warn(fmt.Sprintf("Still loading the app %s after %.0f seconds", opts.App, time.Since(s.began).Seconds()),
					logline.EventKey, "Still loading the app", "app", opts.App)
			case <-loaded:
				return
			}
		}
	}()
	line, err := lines.ReadBytes('\n')
	if !stop() {
		return context.Cause(ctx)
	}
	if err != nil {
		return opts.endedEarly(ended.itself(s.process))
	}
	var first said
	if err := json.Unmarshal(line, &first); err != nil {
		return fmt.Errorf("python: cannot read what the fork server says: %w", err)
	}
	if first.Op == "broken" {
		return first.loadError(opts)
	}
	s.manifest = &Manifest{}
	if err := json.Unmarshal(line, s.manifest); err != nil {
		return fmt.Errorf("python: cannot read what the fork server says of the app: %w", err)
	}
	return nil
}

// listen hears what becomes of the children, until the fork server ends.
func (s *server) listen(lines *bufio.Reader, ended *ending) {
	defer close(s.gone)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var what said
		if err := json.Unmarshal(line, &what); err != nil {
			s.log.Error("The fork server says what cannot be read: "+err.Error(), logline.EventKey, "The fork server says what cannot be read", "error", err)
			break
		}
		s.hear(&what)
	}
	_ = s.process.Kill() // if it has not ended, it does not keep to the protocol
	<-ended.done
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.log.Error(fmt.Sprintf("The fork server (pid %d) has ended", s.process.Pid), logline.EventKey, "The fork server has ended", "pid", s.process.Pid)
	}
	s.ended = true
	for _, c := range s.children {
		killOrphan(c.pid())
		c.hasExited(exit{code: -sigKill, orphaned: true})
	}
	clear(s.children)
	_ = s.control.Close()
}

func (s *server) hear(what *said) {
	if what.Op != "exited" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.children[what.Child]; c != nil {
		delete(s.children, what.Child)
		c.hasExited(exit{code: what.Code, why: what.Why})
	}
	s.endIfIdleLocked()
}

// spawn has a child forked. number tells it from all others of the worker, and index is the
// lowest that no other child has. direct has it hand over records for SQL, and claim is how long it claims a chord for. The child
// must be read.
func (s *server) spawn(number, index int, direct bool, claim time.Duration) (*child, error) {
	conn, theirs, err := connection()
	if err != nil {
		return nil, err
	}
	defer func() { _ = theirs.Close() }()
	shared, err := newPage()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c := newChild(s, number, conn, shared)
	c.claim = claim
	s.mu.Lock()
	if s.ended || s.retired {
		s.mu.Unlock()
		shared.close()
		return nil, errors.Join(errGone, conn.Close())
	}
	s.children[number] = c
	s.mu.Unlock()
	s.say(map[string]any{"op": "spawn", "child": number, "index": index, "direct": direct, "claim": claim.Seconds()}, theirs, shared.file)
	return c, nil
}

// kill sends a signal to a child. With a job, SIGUSR1 reaches that job or nothing.
func (s *server) kill(number, signal int, job uint64) {
	order := map[string]any{"op": "kill", "child": number, "signum": signal}
	if job != 0 {
		order["job"] = job
	}
	s.say(order)
}

// say sends the fork server a line, and files along with it. One that does not read it is
// ended: then all that was to be ordered is seen to by its end.
func (s *server) say(order map[string]any, files ...*os.File) {
	line, err := json.Marshal(order)
	if err != nil {
		panic(err) // numbers and texts
	}
	line = append(line, '\n')
	s.orders.Lock()
	defer s.orders.Unlock()
	_ = s.control.SetWriteDeadline(time.Now().Add(orderTime))
	if n, _, err := s.control.WriteMsgUnix(line, rights(files), nil); err != nil || n != len(line) {
		_ = s.process.Kill()
	}
}

// hold keeps the fork server from ending when its last child has ended, until it is released.
func (s *server) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held++
}

func (s *server) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held--
	s.endIfIdleLocked()
}

// retire ends the fork server when its last child has ended.
func (s *server) retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	s.endIfIdleLocked()
}

func (s *server) endIfIdleLocked() {
	if s.retired && len(s.children) == 0 && s.held == 0 {
		s.endLocked()
	}
}

// end has the fork server kill its children and end.
func (s *server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked()
}

func (s *server) endLocked() {
	if s.ended {
		return
	}
	s.ended = true
	_ = s.control.CloseWrite()
	time.AfterFunc(endTime, func() { _ = s.process.Kill() }) // nothing, once it has been waited for
}
