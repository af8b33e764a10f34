package python

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/worker"
)

func itoa(n int) string { return strconv.Itoa(n) }

// child is a process that runs tasks.
type child struct {
	server  *server
	number  int // no other child of the worker has had it
	conn    *net.UnixConn
	page    *page
	claim   time.Duration // how long it claims a chord for at a time; 0: as long as Celery does
	process atomic.Int64
	up      chan struct{} // closed when it takes jobs
	retired chan struct{} // closed when it takes none any more
	exited  chan struct{} // closed when it has ended
	exit    exit          // how; read it when exited is closed

	mu       sync.Mutex
	jobs     map[uint64]chan answer
	last     uint64
	answered bool                // it has answered a job
	stopped  bool                // it was asked to end in the midst of a job
	seated   bool                // it has had a seat
	reported bool                // it is known to have ended
	cause    worker.ProcessCause // why it ends; "": that is not known
}

// exit is how a process has ended.
type exit struct {
	code     int    // a negative signal, or its exit code
	why      string // it could not be started; "": it was
	orphaned bool   // the fork server has ended, and so it has
}

// anyJob stands for the number of the last job that a child had begun where that is not known.
const anyJob = math.MaxUint64

func newChild(s *server, number int, conn *net.UnixConn, p *page) *child {
	return &child{
		server: s, number: number, conn: conn, page: p, jobs: map[uint64]chan answer{},
		up: make(chan struct{}), retired: make(chan struct{}), exited: make(chan struct{}),
	}
}

const (
	// dyingTime is how long a child may live on after its fork server, if the end of its socket
	// does not tell when it has ended: the kernel is killing it.
	dyingTime = time.Second
	// partingTime is how long a child that has closed its socket may take to end.
	partingTime = time.Second
)

// pid is its process; 0: not known yet.
func (c *child) pid() int { return int(c.process.Load()) }

// hasExited is called once, when the process has ended.
func (c *child) hasExited(e exit) {
	c.exit = e
	if e.code == exitRecycled { // it has said so, which may not have been read yet
		c.mu.Lock()
		c.recycledLocked()
		c.mu.Unlock()
	}
	close(c.exited)
	c.retire()
	deadline := time.Now()
	if e.orphaned {
		deadline = deadline.Add(dyingTime)
	}
	_ = c.conn.SetDeadline(deadline)
}

// lastWords reads from a child until its end: what it has written is there when it has exited, but a
// process that it has started may keep its socket open.
type lastWords struct{ child *child }

func (w lastWords) Read(p []byte) (int, error) {
	n, err := w.child.conn.Read(p)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	<-w.child.exited // there was no deadline before
	if n, err = readAtOnce(w.child.conn, p); n <= 0 || err != nil {
		return 0, io.EOF
	}
	return n, nil
}

// kill sends it a signal.
func (c *child) kill(signal int) { c.server.kill(c.number, signal, 0) }

// interrupt tells it that the soft time limit of a job is over.
func (c *child) interrupt(job uint64) { c.server.kill(c.number, sigUser1, job) }

// read hands answers on until the child is gone, and answers for what it leaves.
func (c *child) read() {
	err := c.readAll()
	c.retire()
	var garbage *garbageError
	if errors.As(err, &garbage) {
		c.kill(sigKill)
	}
	select {
	case <-c.exited:
	case <-time.After(partingTime):
		c.kill(sigKill)
		<-c.exited
	}
	_ = c.conn.Close()
	begun := c.page.begun() // the process has ended, or time enough is over
	claimed := time.Duration(0)
	if c.page.claimed() {
		claimed = c.claim
	}
	c.page.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	for job, answers := range c.jobs {
		answers <- answer{lost: true, job: job, begun: job <= begun, claimed: claimed}
		delete(c.jobs, job)
	}
}

func (c *child) readAll() error {
	r := bufio.NewReaderSize(lastWords{c}, 1<<16)
	f, err := readFrame(r)
	if err != nil {
		return err
	}
	var first struct{ Up int64 }
	if err := json.Unmarshal(f.head, &first); err != nil || f.job != 0 {
		return &garbageError{"an answer before it was up"}
	}
	c.process.Store(first.Up)
	close(c.up)
	for {
		f, err := readFrame(r)
		if err != nil {
			return err
		}
		a := answer{record: f.body}
		if err := json.Unmarshal(f.head, &a); err != nil {
			return &garbageError{"a head that is not JSON: " + err.Error()}
		}
		if err := c.answer(f.job, a); err != nil {
			return err
		}
	}
}

// answer hands the answer to a job on.
func (c *child) answer(job uint64, a answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	answers, ok := c.jobs[job]
	if !ok {
		return &garbageError{"an answer to a job that it does not have"}
	}
	delete(c.jobs, job)
	c.answered = true
	if a.Leaving {
		if a.State != exits {
			c.recycledLocked()
		}
		c.retireLocked()
	}
	answers <- a
	c.dismissLocked()
	return nil
}

// take gives the child a job to come. It reports false if the child takes no more.
func (c *child) take() (job uint64, answers <-chan answer, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isRetired() {
		return 0, nil, false
	}
	c.last++
	ch := make(chan answer, 1)
	c.jobs[c.last] = ch
	return c.last, ch, true
}

// giveUp takes back a job that was not sent.
func (c *child) giveUp(job uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.jobs, job)
	c.dismissLocked()
}

// send sends the child what a job is. If it reports false, the job has not begun and will not:
// the child is ended, so that its answer comes in any case.
func (c *child) send(f *frame) bool {
	if err := f.write(c.conn); err != nil {
		c.kill(sigKill)
		return false
	}
	return true
}

// retire has the child take no more jobs, and end when it has done those that it has.
func (c *child) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retireLocked()
}

func (c *child) retireLocked() {
	if !c.isRetired() {
		close(c.retired)
	}
	c.dismissLocked()
}

// dismissLocked tells a retired child that there is nothing more to come.
func (c *child) dismissLocked() {
	if c.isRetired() && len(c.jobs) == 0 {
		_ = c.conn.CloseWrite()
	}
}

func (c *child) isRetired() bool {
	select {
	case <-c.retired:
		return true
	default:
		return false
	}
}

// stop ends the child in the midst of a job with a signal. It takes no other job, so that
// none can be hit.
func (c *child) stop(signal int, job uint64) {
	c.mu.Lock()
	c.stopped = true
	c.endsOfLocked(worker.ProcessTerminated)
	c.retireLocked()
	c.mu.Unlock()
	c.server.kill(c.number, signal, job)
}

// wasUseful tells whether it has answered a job.
func (c *child) wasUseful() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered
}
