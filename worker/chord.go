package worker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/publish"
)

// chordPublish is how long nobody else runs the body while it is being published, unless the backend has a lease of its own.
const chordPublish = 30 * time.Second

// chordRelease bounds how long a worker that is stopping tries to leave a chord to others at once.
const chordRelease = time.Second

// chordLook is how often it is looked whether somebody else has run the body.
const chordLook = time.Second

// chords runs the bodies of chords all of whose parts are counted.
type chords struct {
	outcomes *outcomes
	settler  *settler
	backend  publish.Backend
	ends     backend.ChordEnds  // nil: a chord is finished after its body is published
	ender    broker.ChordEnder  // likewise
	taker    backend.ChordTaker // nil: it is so after its body has begun here
	loader   backend.Loader     // nil: results cannot be read
	log      taskLog
	passOn   func(*settlement) // takes on here what would be published, if possible
	forgo    func(*passedOn)   // does not, after all

	joinTimeout   time.Duration // Config.ChordJoinTimeout
	retryInterval time.Duration // Config.ChordRetryInterval
}

// complete runs the body of a chord whose last part was counted. When somebody else
// is at it, it waits until they are done, or in their place does it.
func (c *chords) complete(ctx context.Context, r *request, p part, count backend.ChordCount, rest *settlement) {
	inherited := p.again || r.Redelivered || count.Again // somebody may have got further than they could tell
	for count.State == backend.ChordClaimed {
		if pause(ctx, min(count.Lease, chordLook)); ctx.Err() != nil {
			return
		}
		inherited = true
		counted, ok := c.settler.count(ctx, []backend.ChordPart{p.ChordPart})
		if !ok {
			return
		}
		count = counted[0]
	}
	if count.State != backend.ChordComplete {
		return
	}
	f := &flow{}
	failed := false
	results, err := c.results(ctx, p.GroupID, count.Members)
	var ids []string
	if err == nil {
		ids, err = c.outcomes.runBody(f, r, p.body, results)
	}
	if ctx.Err() != nil {
		c.release(ctx, count.Claim) // the worker is stopping: counting the part again runs the body
		return
	}
	if err != nil {
		failed = true
		*f = flow{}
		c.log.remarks(r, c.outcomes.failBody(f, r, p.body, err))
	}
	if inherited && c.anyDone(ctx, ids) {
		*f = flow{} // it was published, and only its chord is not finished
	}
	body := bodyOf(r, f)
	if !r.acksLate {
		c.passOn(&body)
	}
	if body.next != nil && c.taker != nil {
		c.runHere(ctx, r, p, count.Claim, body, rest)
		return
	}
	if !c.renewClaim(ctx, r, count) {
		if body.next != nil {
			c.forgo(body.next)
		}
		return
	}
	c.endWith(f, count.Claim)
	finish := c.finishing(r, p, count.Claim, f, failed)
	if c.settler.concluder == nil || rest.fate != late || rest.flow.Size+f.Size > publish.Portion {
		c.settleBody(ctx, body, finish)
		return
	}
	// In one step with the acknowledgement: else who dies in between leaves the part to
	// somebody who cannot know that the body is on its way.
	rest.flow.add(f)
	ended := endsWithBody(f)
	rest.flow.after = append(rest.flow.after, func(ctx context.Context) {
		switch {
		case !r.lost.Load():
			finish(ctx, ended)
		case c.renewClaim(ctx, r, count): // else who has the part now has run the body
			c.settleBody(ctx, bodyOf(r, f), finish)
		}
	})
}

// runHere has a body run that is passed on. The chord ends before that: else who is away for longer than the claim lasts runs a body that
// others take for one which nobody has. Who dies in between cuts it, as what was acknowledged early. If the claim has run out meanwhile, the
// body may be somebody else's, and all is looked at anew.
func (c *chords) runHere(ctx context.Context, r *request, p part, claim backend.ChordClaim, body settlement, rest *settlement) {
	var lost error
	if !c.settler.persist(ctx, "end a chord", func() error {
		err := c.taker.TakeBody(ctx, claim)
		if errors.Is(err, backend.ErrClaimLost) || errors.Is(err, backend.ErrUnreadable) {
			lost, err = err, nil
		}
		return err
	}) {
		c.forgo(body.next)
		return
	}
	if lost == nil {
		c.settleBody(ctx, body, func(context.Context, bool) {})
		return
	}
	c.forgo(body.next)
	if !errors.Is(lost, backend.ErrClaimLost) {
		c.log.notPublishedHere(r, claim, lost)
		return
	}
	if counted, ok := c.settler.count(ctx, []backend.ChordPart{p.ChordPart}); ok {
		p.again = true
		c.complete(ctx, r, p, counted[0], rest)
	}
}

// endWith has the chord end in the step in which its body is published, if that can be: else who dies in between, or is away for longer than
// the claim lasts, leaves it to somebody who publishes the body again. The tasks of a body that is too large for one step are published in
// several, the first of which would end the chord.
func (c *chords) endWith(f *flow, claim backend.ChordClaim) {
	if c.ends == nil || c.ender == nil || len(f.Messages) > 1 && f.Size > publish.Portion {
		return
	}
	if end := c.ends.EndOf(claim); c.ender.EndsChord(end) {
		for i := range f.Messages {
			f.Messages[i].Ends = end
		}
	}
}

// endsWithBody tells whether a chord ends when what is in a flow is published.
func endsWithBody(f *flow) bool {
	return slices.ContainsFunc(f.Messages, func(m publish.Message) bool { return m.Ends != nil })
}

// A chordFinisher is called when what it leads to is settled. ended tells whether that has ended the chord.
type chordFinisher func(ctx context.Context, ended bool)

// bodyOf is the settlement of what a complete chord leads to. It does not depend on
// the task's lease: once its part has completed the chord, nobody else will.
func bodyOf(r *request, f *flow) settlement {
	return settlement{req: &request{Request: r.Request, task: r.task}, flow: f}
}

// settleBody settles that, then calls finish.
func (c *chords) settleBody(ctx context.Context, s settlement, finish chordFinisher) {
	written := make(chan struct{})
	s.written = written
	ended := endsWithBody(s.flow)
	c.settler.settle(s)
	select {
	case <-written:
		finish(ctx, ended)
	case <-ctx.Done(): // unfinished: counting the part again runs the body
	}
}

// finishing returns what finishes a chord once its body, which is in f, is settled.
func (c *chords) finishing(r *request, p part, claim backend.ChordClaim, f *flow, failed bool) chordFinisher {
	refused := heedRefusal(f)
	return func(ctx context.Context, ended bool) {
		switch {
		case *refused != nil && !failed:
			c.settleBody(ctx, bodyOf(r, c.refusedBody(r, p.body, *refused)), func(ctx context.Context, _ bool) { c.finish(ctx, claim, true) })
		case !ended:
			c.finish(ctx, claim, failed)
		}
	}
}

// heedRefusal returns where it is noted that the broker has refused a message of a flow.
func heedRefusal(f *flow) *error {
	refused := new(error)
	for i := range f.Messages {
		f.Messages[i].Refused = func(err error) { *refused = err }
	}
	return refused
}

// refusedBody is what it means that the broker refuses the body of a chord, such as one that is larger than it takes. The chord fails, as
// in Celery: whoever waits for it would wait for ever.
func (c *chords) refusedBody(r *request, body []byte, why error) *flow {
	f := &flow{}
	exc := newException("kombu.exceptions", "OperationalError", why.Error())
	c.log.remarks(r, c.outcomes.failBody(f, r, body, &chordError{text: "Callback error: " + exc.Repr()}))
	return f
}

func (c *chords) finish(ctx context.Context, claim backend.ChordClaim, failed bool) {
	c.settler.persist(ctx, "finish a chord", func() error {
		err := c.backend.Chords.Finish(ctx, claim, failed)
		if errors.Is(err, backend.ErrClaimLost) || errors.Is(err, backend.ErrUnreadable) {
			return nil // there is nothing more to be done about it
		}
		return err
	})
}

// release lets a claim run out.
func (c *chords) release(ctx context.Context, claim backend.ChordClaim) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), chordRelease)
	defer cancel()
	_ = c.backend.Chords.Renew(ctx, claim, time.Millisecond) // if this fails, it runs out later
}

// renewClaim makes sure that a chord is still ours, whose results took a while to read.
func (c *chords) renewClaim(ctx context.Context, r *request, count backend.ChordCount) (ours bool) {
	claim := count.Claim
	ok := c.settler.persist(ctx, "claim a chord", func() error {
		err := c.backend.Chords.Renew(ctx, claim, cmp.Or(count.Lease, chordPublish))
		if ours = err == nil; errors.Is(err, backend.ErrClaimLost) || errors.Is(err, backend.ErrUnreadable) {
			c.log.notPublishedHere(r, claim, err)
			return nil
		}
		return err
	})
	return ok && ours
}

// notPublishedHere logs that somebody else has a chord, or that it cannot be read.
func (l taskLog) notPublishedHere(r *request, claim backend.ChordClaim, why error) {
	l.Warn("The body of chord "+claim.GroupID+" is not published here: "+why.Error(),
		logline.EventKey, "The body of a chord is not published here", "group_id", claim.GroupID, "task_id", r.ID, "error", why)
}

// anyDone tells whether one of the tasks is done: then they were published. Their other
// states tell nothing, as they may be those of a task that was replaced by the chord.
func (c *chords) anyDone(ctx context.Context, ids []string) (done bool) {
	c.settler.persist(ctx, "look for the body of a chord", func() error {
		records, err := c.loader.LoadMany(ctx, ids...)
		done = slices.ContainsFunc(records, func(record []byte) bool {
			state, err := backend.State(record)
			return record != nil && err == nil && state.Ready()
		})
		if errors.Is(err, backend.ErrUnreadable) {
			return nil
		}
		return err
	})
	return done
}
