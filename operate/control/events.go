package control

import "encoding/json"

// Events sends a worker's events.
type Events interface {
	// EnableTasks has the events of tasks sent, and reports whether they were not before.
	EnableTasks() bool
	// DisableTasks has them not sent any more, and reports whether they were before.
	DisableTasks() bool
	// Heartbeat sends a heartbeat now.
	Heartbeat()
}

// Gossip takes part in the elections that workers hold among themselves.
type Gossip interface {
	// Election has a worker chosen that takes an action, a raw JSON signature.
	Election(id, topic string, action []byte)
}

func (m *Mailbox) enableEvents() any {
	switch {
	case m.cfg.Events == nil:
		return failed("event dispatcher unavailable")
	case m.cfg.Events.EnableTasks():
		m.log.Info("Events of group {task} enabled by remote.")
		return succeeded("task events enabled")
	}
	return succeeded("task events already enabled")
}

func (m *Mailbox) disableEvents() any {
	switch {
	case m.cfg.Events == nil:
		return failed("event dispatcher unavailable")
	case m.cfg.Events.DisableTasks():
		m.log.Info("Events of group {task} disabled by remote.")
		return succeeded("task events disabled")
	}
	return succeeded("task events already disabled")
}

func (m *Mailbox) heartbeat() {
	m.log.Debug("Heartbeat requested by remote.")
	if m.cfg.Events != nil {
		m.cfg.Events.Heartbeat()
	}
}

func (m *Mailbox) election(id, topic string, action json.RawMessage, _ others) {
	if m.cfg.Gossip != nil {
		m.cfg.Gossip.Election(id, topic, action)
	}
}
