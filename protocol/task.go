package protocol

import "time"

// Task is one task message of either protocol. Its slices are parts of the message or
// of its decoded body; treat them as read-only. Its strings are parts of a small message,
// too: clone one that is to be kept for long. "" and nil stand for null and missing.
type Task struct {
	Protocol int    // 1 or 2
	Name     string // the registered name
	ID       string // "" only for protocol 1 messages without one
	RootID   string // the first task of the workflow
	ParentID string // the task that published this one
	GroupID  string
	Shadow   string // an alternative display name

	GroupIndex *int // position in the group

	Lang          string
	Origin        string // gen<pid>@<host> of the publisher
	ArgsRepr      string
	KwargsRepr    string
	ReplyTo       string
	CorrelationID string
	DeliveryTag   string

	Retries       int
	ETA           time.Time     // not before; zero: now
	Expires       time.Time     // not after; zero: never
	TimeLimit     time.Duration // hard limit; 0: none
	SoftTimeLimit time.Duration // 0: none

	IgnoreResult        *bool // nil: the task's own setting
	ReplacedTaskNesting int
	StampedHeaders      []string
	Stamps              []byte // raw JSON object, nil when there are none

	Priority    int
	NoPriority  bool // see Properties
	Redelivered bool
	told        bool // see Told
	Exchange    string
	RoutingKey  string

	// The body: see [Decoder.DecodeBody].
	Args   []byte // raw JSON array
	Kwargs []byte // raw JSON object
	Embed  Embed
	Inset  *Inset // what its mark stands for in these; nil, as in all tasks that were received: nothing is left out

	Headers     []byte // the raw headers object, for what is passed on
	Properties  []byte // the raw object of the message's properties: see Property
	ContentType string

	body wrapped // of a message
}

// Told tells that somebody else has read the body: what runs after the task is known, whether or
// not its arguments can be read here.
func (t *Task) Told() bool { return t.told }

// wrapped is the body of a message that was received, as its transport delivered it.
type wrapped struct {
	text        []byte
	unwrap      func([]byte) ([]byte, error)
	compression string // as the header says
	unread      bool
}

// Embed is the part of a message that says what runs after the task. Each field is
// raw JSON, nil when there is nothing to do.
type Embed struct {
	Callbacks []byte // array of signatures to apply with the result
	Errbacks  []byte // array of signatures to apply on failure
	Chain     []byte // array of the remaining steps; the last element runs next
	Chord     []byte // the body of the chord this task is a header member of
}

// DisplayName is the name for logs and events: the shadow name where there is one.
func (t *Task) DisplayName() string {
	if t.Shadow != "" {
		return t.Shadow
	}
	return t.Name
}
