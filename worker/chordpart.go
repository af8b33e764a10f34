package worker

import (
	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// part is a chord's part to be counted, and the chord's body.
type part struct {
	backend.ChordPart
	body  []byte
	again bool // it may be counted already, though its message is not known to come again
}

// countPart adds the part to a settlement that a task is of its chord. Results that are
// ignored count, too. Where chords are polled, there is nothing to count.
func (o *outcomes) countPart(s *settlement, state protocol.State, result []byte) {
	r := s.req
	if r.Task == nil || !r.inChord() || o.pollsChords {
		return
	}
	s.with().parts = append(s.with().parts, part{ChordPart: backend.ChordPart{
		GroupID: r.GroupID, Index: r.GroupIndex, TaskID: r.ID, State: state, Result: result, Size: chordSize(r.Embed.Chord),
	}, body: r.Embed.Chord})
}

// countAgain is countPart for a task that may be counted already.
func (o *outcomes) countAgain(s *settlement, state protocol.State, result []byte) {
	o.countPart(s, state, result)
	s.mayBeCounted()
}

// mayBeCounted notes that whoever ran the task may have counted its parts.
func (s *settlement) mayBeCounted() {
	if s.flow == nil {
		return
	}
	for i := range s.flow.parts {
		s.flow.parts[i].again = true
	}
}

// chordSize is where producers before Celery 5.1 say how many parts there are.
func chordSize(body []byte) int {
	var size int
	if raw := pyjson.Member(body, "chord_size"); raw == nil || pyjson.Unmarshal(raw, &size) != nil {
		return 0
	}
	return size
}
