package worker

import (
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// recordOf is what a record says besides whose it is.
type recordOf struct {
	state     protocol.State
	result    []byte // JSON; nil: null
	traceback string // "": null

	begun []byte // the record up to the result and with it, which is continued; nil: it is begun here
}

func failureRecord(exc *protocol.Exception) recordOf {
	return recordOf{state: protocol.Failure, result: exc.Append(nil), traceback: exc.Traceback}
}

func revokedRecord(exc *protocol.Exception) recordOf {
	return recordOf{state: protocol.Revoked, result: exc.Append(nil)}
}

// record encodes a task-meta document; nil when nothing is to be stored.
func (o *outcomes) record(r *request, what recordOf, store bool) []byte {
	if !store || !o.stores || r.ID == "" { // protocol 1 allows for no id
		return nil
	}
	rec := protocol.Result{
		State: what.state, Result: what.result, Children: r.childrenJSON(),
		TaskID: r.ID, GroupID: r.GroupID, ParentID: r.ParentID,
	}
	if what.traceback != "" {
		traceback := what.traceback // of its own: most have none
		rec.Traceback = &traceback
	}
	if what.state.Ready() {
		rec.DateDone = o.now().In(o.location)
	}
	if o.extended {
		rec.Extended = o.extendedBy(r)
	}
	if what.begun != nil {
		return rec.AppendEnd(what.begun)
	}
	return rec.Append(make([]byte, 0, len(what.result)+r.recordOverhead()))
}

// successRecord encodes a result where it stands in the record of a success, as it may be large: there is no other copy. overhead is
// about what the record needs besides.
func successRecord(result any, overhead int) (recordOf, error) {
	begun := protocol.AppendBeforeResult(make([]byte, 0, overhead), protocol.Success)
	at := len(begun)
	begun, err := pyjson.Append(begun, result)
	if err != nil {
		return recordOf{state: protocol.Success}, err
	}
	return recordOf{state: protocol.Success, result: begun[at:len(begun):len(begun)], begun: begun}, nil
}

// extendedBy returns what result_extended adds; nulls for a task that is not registered.
func (o *outcomes) extendedBy(r *request) *protocol.Extended {
	if r.task == nil {
		return &protocol.Extended{}
	}
	_ = r.readBody(o.decoder)
	return &protocol.Extended{
		Name: r.Name, Args: reencoded(r.Args), Kwargs: reencoded(r.Kwargs), Worker: o.hostname,
		Retries: r.Retries, Queue: r.RoutingKey,
		StampedHeaders: r.StampedHeaders, Stamps: r.Stamps,
	}
}

// reencoded returns JSON as Python writes it, whoever the producer was: Celery stores arguments
// as it has read them. What cannot be read again stays as it came.
func reencoded(raw []byte) []byte {
	again, err := pyjson.Reencode(make([]byte, 0, len(raw)), raw)
	if err != nil {
		return raw
	}
	return again
}

// recordOverhead is about what a record of the task needs besides its result.
func (r *request) recordOverhead() int {
	const alone, named = 192, len(`, "parent_id": ""`)
	size := alone
	for _, other := range [...]string{r.GroupID, r.ParentID} {
		if other != "" {
			size += named + len(other)
		}
	}
	return size
}

// newException builds an exception of one of Celery's own classes.
func newException(module, class string, arguments ...any) *protocol.Exception {
	args, err := pyjson.Append(nil, append([]any{}, arguments...))
	if err != nil {
		args = []byte("[]") // cannot be: strings and numbers have a JSON form
	}
	return &protocol.Exception{Module: module, Type: class, Message: args}
}
