package canvas

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// usedOptions are those that say something about the message; what is left of a call's
// options becomes message properties.
var usedOptions = []string{
	"task_id", "producer", "publisher", "connection", "router", "result_cls", "add_to_parent",
	"link", "link_error", "chain", "chord", "group_id", "group_index", "root_id", "parent_id",
	"countdown", "eta", "expires", "retries", "reply_to", "time_limit", "soft_time_limit",
	"route_name", "shadow", "task_type", "replaced_task_nesting", "ignore_result",
	"stamped_headers", "queue", "exchange", "exchange_type", "routing_key", "priority",
	"event_dispatcher", "retry", "retry_policy", "serializer", "delivery_mode", "compression",
	"declare", "headers", "timeout", "confirm_timeout", "expiration", "mandatory", "immediate",
	"content_type", "content_encoding",
}

// call is what is known of one task message.
type call struct {
	name         string
	args, kwargs []byte
	opts         Options
	route        string // the name to route by, if it is not the task's
	asList       bool   // the arguments are a list to Python, and show as one
}

// publish adds one task message (Task.apply_async and Celery.send_task).
func (p *planner) publish(c call) *Result {
	if p.env.Check != nil {
		p.fail(p.env.Check(c.name, c.args, c.kwargs))
	}
	opts, route := c.opts, c.route
	noPriority := false // Celery names None for tasks that it knows, unless routes fill it up
	if own, known := p.known(c.name); known {
		opts = own.merged(opts)
		noPriority = opts.text("queue") != ""
		opts.setDefault("ignore_result", json.RawMessage("false"))
	}
	if route == "" {
		route = c.name
	}
	opts = p.routed(route, opts)
	task := &protocol.Task{
		Protocol: 2, Name: c.name, ID: opts.text("task_id"), Args: c.args, Kwargs: c.kwargs,
		Lang: p.env.Lang, Origin: p.env.Origin,
	}
	if task.ID == "" {
		task.ID = p.env.NewID()
	}
	p.setFamily(task, &opts)
	task.NoPriority = noPriority && !opts.has("priority")
	setFields(task, opts)
	if c.asList && task.ArgsRepr == "" && len(inner(c.args)) > 0 {
		task.ArgsRepr = protocol.SafeRepr(c.args)
	}
	step := Publish{
		Task: task, Serializer: opts.text("serializer"), Compression: opts.text("compression"),
		Retry: encode(opts.get("retry")), RetryPolicy: encode(opts.get("retry_policy")),
	}
	p.setTimes(&step, opts)
	step.Publication.Properties = properties(opts)
	if mode, ok := opts.integer("delivery_mode"); ok {
		step.Publication.DeliveryMode = mode
	}
	p.setDestination(&step, opts)
	p.plan.Steps = append(p.plan.Steps, step)
	result := &Result{ID: task.ID}
	if !isFalse(opts.get("add_to_parent")) {
		p.plan.Children = append(p.plan.Children, result)
	}
	return result
}

// known returns the options of a task that this worker has. The built-in tasks are
// known to every worker.
func (p *planner) known(name string) (Options, bool) {
	if p.env.Task != nil {
		if own, ok := p.env.Task(name); ok {
			return own, true
		}
	}
	return nil, strings.HasPrefix(name, "celery.")
}

// setFamily sets where the task belongs: ids of the workflow, and priority, which comes
// from the running task only where the ids do.
func (p *planner) setFamily(task *protocol.Task, opts *Options) {
	task.RootID, task.ParentID = opts.text("root_id"), opts.text("parent_id")
	if (task.RootID == "" || task.ParentID == "") && p.env.ParentID != "" {
		if task.RootID == "" {
			task.RootID = p.env.RootID
		}
		if task.ParentID == "" {
			task.ParentID = p.env.ParentID
		}
		if p.env.Priority != nil && !opts.has("priority") {
			*opts = append(opts.clone(), Priority(*p.env.Priority))
		}
	}
	task.GroupID = opts.text("group_id")
	if index, ok := opts.integer("group_index"); ok {
		task.GroupIndex = &index
	}
	task.Priority, _ = opts.integer("priority")
	task.ReplyTo = opts.text("reply_to")
	if task.ReplyTo == "" {
		task.ReplyTo = p.env.ReplyTo
	}
}

func setFields(task *protocol.Task, opts Options) {
	task.Shadow = opts.text("shadow")
	task.Retries, _ = opts.integer("retries")
	task.ReplacedTaskNesting, _ = opts.integer("replaced_task_nesting")
	task.TimeLimit, task.SoftTimeLimit = opts.seconds("time_limit"), opts.seconds("soft_time_limit")
	if raw, ok := opts.get("ignore_result").(json.RawMessage); ok {
		ignore := string(raw) == "true"
		task.IgnoreResult = &ignore
	}
	task.Headers = encode(opts.get("headers"))
	task.ArgsRepr, task.KwargsRepr = opts.text("argsrepr"), opts.text("kwargsrepr")
	if origin := opts.text("origin"); origin != "" {
		task.Origin = origin
	}
	task.Embed = protocol.Embed{
		Callbacks: encodeList(opts.get("link")), Errbacks: encodeList(opts.get("link_error")),
		Chain: encodeList(opts.get("chain")), Chord: encode(opts.get("chord")),
	}
	task.StampedHeaders = stampNames(opts)
	if opts.get("stamped_headers") != nil && task.StampedHeaders == nil {
		task.StampedHeaders = []string{}
	}
	var stamps Options
	for _, name := range task.StampedHeaders {
		if opts.has(name) {
			stamps.set(name, opts.get(name))
		}
	}
	if len(stamps) > 0 {
		task.Stamps = stamps.encode()
	}
}

func encodeList(value any) []byte {
	if isNull(value) {
		return nil
	}
	if raw, ok := value.(json.RawMessage); ok && pyjson.Kind(raw) == '[' {
		return raw
	}
	return appendValue(nil, listOf(value))
}

// setTimes sets ETA and expiry. A countdown goes before an ETA; a number of seconds to
// expire counts from now.
func (p *planner) setTimes(step *Publish, opts Options) {
	var err error
	task := step.Task
	if seconds, ok := opts.number("countdown"); ok && seconds != 0 {
		task.ETA = p.env.Now.Add(duration(seconds))
	} else if task.ETA, err = timeOf(opts.get("eta")); err != nil {
		p.fail(fmt.Errorf("canvas: eta of %s: %w", task.Name, err))
	}
	if !task.ETA.IsZero() {
		step.Delay = task.ETA.Sub(p.env.Now)
	}
	expires := opts.get("expires")
	if seconds, ok := opts.number("expires"); ok {
		task.Expires = p.env.Now.Add(duration(seconds))
	} else if task.Expires, err = timeOf(expires); err != nil {
		p.fail(fmt.Errorf("canvas: expires of %s: %w", task.Name, err))
	}
	if !task.Expires.IsZero() {
		// 0 would leave the property out; one that is past is 0 in Celery.
		step.Publication.Expiration = max(task.Expires.Sub(p.env.Now), time.Nanosecond)
	}
}

// timeOf reads a date as text or as kombu's datetime; zero for none.
func timeOf(value any) (t time.Time, err error) {
	raw, ok := value.(json.RawMessage)
	if !ok {
		return t, nil
	}
	if pyjson.Kind(raw) == '"' {
		text, err := pyjson.Unquote(raw)
		if err != nil || text == "" {
			return t, err
		}
		return protocol.ParseTime(text, nil)
	}
	err = pyjson.Unmarshal(raw, &t)
	return t, err
}

func (o Options) seconds(name string) time.Duration {
	seconds, _ := o.number(name)
	return duration(seconds)
}

func duration(seconds float64) time.Duration {
	const limit = float64(math.MaxInt64 / time.Second)
	return time.Duration(math.Max(-limit, math.Min(limit, seconds)) * float64(time.Second))
}

// properties are the options left over, as members of a JSON object.
func properties(opts Options) []byte {
	stamped := stampNames(opts)
	left := slices.DeleteFunc(slices.Clone(opts), func(opt Option) bool {
		return slices.Contains(usedOptions, opt.name) || slices.Contains(stamped, opt.name)
	})
	if len(left) == 0 {
		return nil
	}
	return left.encode()
}
