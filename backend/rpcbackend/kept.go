package rpcbackend

import (
	"bytes"
	"container/list"
	"fmt"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
)

// kept are the latest records of tasks, the oldest first, and those who wait for more. It is not safe for
// concurrent use.
type kept struct {
	expires time.Duration // 0: never
	room    int           // bytes that are left
	byTask  map[string]*list.Element
	order   *list.List // of *entry

	watchers map[string]map[*watcher]bool
}

type entry struct {
	taskID   string
	came     time.Time
	document []byte
	err      error // there is a record, and it cannot be read
	ready    bool
	final    bool
}

// overhead is about what an entry takes besides its record.
const overhead = 256

func newKept(expires time.Duration, room int) kept {
	return kept{
		expires: expires, room: room, byTask: make(map[string]*list.Element), order: list.New(), watchers: make(map[string]map[*watcher]bool),
	}
}

// add keeps a record, unless the task has succeeded already.
func (k *kept) add(taskID string, document []byte, unreadable error) {
	e := &entry{taskID: taskID, came: time.Now(), document: document}
	if unreadable != nil {
		e.err = fmt.Errorf("rpcbackend: the record of task %s: %w: %w", taskID, backend.ErrUnreadable, unreadable)
	} else if state, err := backend.State(document); err == nil {
		e.ready, e.final = state.Ready(), state == protocol.Success
	}
	if old := k.byTask[taskID]; old != nil {
		if old.Value.(*entry).final {
			return
		}
		k.drop(old)
	}
	k.byTask[taskID] = k.order.PushBack(e)
	k.room -= len(document) + overhead
	for w := range k.watchers[taskID] {
		w.tell(e)
	}
	for oldest := k.order.Front(); oldest != k.order.Back(); oldest = k.order.Front() {
		if k.room >= 0 && (k.expires == 0 || time.Since(oldest.Value.(*entry).came) < k.expires) {
			break
		}
		k.drop(oldest)
	}
}

func (k *kept) drop(e *list.Element) {
	old := k.order.Remove(e).(*entry)
	delete(k.byTask, old.taskID)
	k.room += len(old.document) + overhead
}

// of returns the record of a task; nil: there is none.
func (k *kept) of(taskID string) ([]byte, error) {
	e := k.byTask[taskID]
	if e == nil {
		return nil, nil
	}
	return bytes.Clone(e.Value.(*entry).document), e.Value.(*entry).err
}

func (k *kept) forget(taskID string) {
	if e := k.byTask[taskID]; e != nil {
		k.drop(e)
	}
}

// watch has a watcher told what is known of a task, and what comes.
func (k *kept) watch(taskID string, w *watcher) {
	if k.watchers[taskID] == nil {
		k.watchers[taskID] = make(map[*watcher]bool)
	}
	k.watchers[taskID][w] = true
	if e := k.byTask[taskID]; e != nil {
		w.tell(e.Value.(*entry))
	}
}

func (k *kept) leave(taskID string, w *watcher) {
	delete(k.watchers[taskID], w)
	if len(k.watchers[taskID]) == 0 {
		delete(k.watchers, taskID)
	}
}

// watcher is one call of Wait or Watch.
type watcher struct {
	news    chan *entry // the latest
	unready bool        // wants records that are not ready, too
}

// watched is how many records are kept for a call of Watch that is slow.
const watched = 64

func newWatcher(unready bool) *watcher {
	size := 1
	if unready {
		size = watched
	}
	return &watcher{news: make(chan *entry, size), unready: unready}
}

// tell hands over a record, in place of the oldest one if need be. One at a time calls it.
func (w *watcher) tell(e *entry) {
	if !w.unready && !e.ready && e.err == nil {
		return
	}
	for {
		select {
		case w.news <- e:
			return
		default:
		}
		select {
		case <-w.news:
		default:
		}
	}
}
