package worker

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/protocol"
)

// remark is what the log is told about the end of a request.
type remark struct {
	kind  remarkKind
	event string // of somethingWrong
	text  string // what the line says besides: repr, reason, trace
	exc   *protocol.Exception
	err   error         // what the handler returned, or what is wrong
	back  bool          // of rejected: the message goes back
	limit time.Duration // of hardLimit
}

type remarkKind int

const (
	raised         remarkKind = iota // the handler returned an error
	handlerError                     // the task failed for a reason outside of its handler
	ignored                          // the handler wants it so
	rejected                         // the handler does not want its message
	retried                          // it runs again
	hardLimit                        // it has taken too long
	chordRaised                      // the body of a chord will not run
	somethingWrong                   // what follows from it cannot be read or published
)

func trouble(event, text string, err error) remark {
	return remark{kind: somethingWrong, event: event, text: text, err: err}
}

// remarks writes lines about a request.
func (l taskLog) remarks(r *request, remarks []remark) {
	for i := range remarks {
		l.remark(r, &remarks[i])
	}
}

func (l taskLog) remark(r *request, m *remark) {
	switch m.kind {
	case raised:
		l.failed(r, m.err, m.exc, m.text)
	case handlerError:
		l.handlerError(r, m.exc, m.text)
	case ignored:
		l.ignored(r)
	case rejected:
		l.rejected(r, m.back, m.text)
	case retried:
		l.retry(r, m.text)
	case hardLimit:
		l.task(slog.LevelError, r, "Hard time limit exceeded",
			fmt.Sprintf("Hard time limit (%ss) exceeded for %s", pythonNumber(m.limit), nameAndID(r.Task)), slog.Float64("limit", m.limit.Seconds()))
	case chordRaised:
		l.task(slog.LevelError, r, "Chord raised", fmt.Sprintf("Chord '%s' raised: %s", m.text, m.exc.Repr()),
			slog.String("group_id", m.text), slog.String("exception", m.exc.Repr()))
	case somethingWrong:
		l.task(slog.LevelError, r, m.event, m.text+": "+m.err.Error(), logline.Err(m.err))
	}
}
