package canvas

import (
	"encoding/json"
	"slices"

	"github.com/apium/apium/protocol/pyjson"
)

// announce does what has to be done before a chord's header is published, so that somebody finds
// out when it is done (Backend.apply_chord). given are the options of the chord's run.
func (p *planner) announce(header, body *node, result *Result, given Options) {
	switch p.env.Chords {
	case ChordsCounted:
		if result.nested() {
			record := append(result.Append([]byte(`{"result": `)), '}')
			p.plan.Steps = append(p.plan.Steps, SaveGroup{result.ID, record})
		}
	case ChordsListed:
		p.plan.Steps = append(p.plan.Steps, ListChord{GroupID: result.ID, Size: descend(header), Members: result.members()})
	case ChordsPolled:
		p.unlock(body, result, given)
	}
}

// members are the result tuples of a group's members, as a JSON list.
func (r *Result) members() []byte {
	list := []byte{'['}
	for _, member := range r.Members {
		list = member.Append(pyjson.AppendComma(list))
	}
	return append(list, ']')
}

// unlock publishes the task that polls a chord (Backend.fallback_chord_unlock): where its body will
// go, a second from now.
func (p *planner) unlock(body *node, result *Result, given Options) {
	opts := Options{}
	own, known := p.known(body.task)
	queue := body.options.text("queue")
	if queue == "" {
		queue = own.text("queue")
	}
	if queue == "" {
		queue = p.routed(body.task, nil).text("queue")
	}
	if queue == "" {
		queue = p.defaultQueue()
	}
	var to Destination
	if p.env.Queue != nil {
		to = p.env.Queue(queue)
		p.fail(to.Err)
	}
	if to.Queue != "" {
		queue = to.Queue
	}
	priority := body.options.get("priority")
	switch {
	case priority != nil:
	case !known:
		priority = json.RawMessage("0")
	default:
		priority = own.get("priority")
	}
	opts.set("countdown", json.RawMessage("1"))
	opts.set("queue", quote(queue))
	opts.set("priority", priority)
	stamps := stampNames(body.options)
	for _, name := range []string{"exchange", "exchange_type", "routing_key", "headers"} {
		if value := body.options.get(name); value != nil && !slices.Contains(stamps, name) {
			opts.set(name, value)
		}
	}
	kind := opts.text("exchange_type")
	if kind == "" {
		if kind = to.ExchangeType; kind == "" {
			kind = "direct"
		}
		opts.set("exchange_type", quote(kind))
	}
	opts.set("ignore_result", json.RawMessage("true"))
	kwargs := Options{}
	kwargs.set("interval", given.get("interval"))
	kwargs.set("max_retries", given.get("max_retries"))
	kwargs.set("result", json.RawMessage(result.members()))
	kwargs.set("_chord_unlock_exchange_type", quote(kind))
	args := pyjson.AppendArray(nil, [][]byte{pyjson.AppendString(nil, result.ID), body.append(nil)})
	p.publish(call{name: "celery.chord_unlock", args: args, kwargs: kwargs.encode(), opts: opts})
}
