package worker

import (
	"github.com/apium/apium/backend"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/pyjson"
)

// part is a chord's part to be counted, and the chord's body.
type part struct {
	backend.ChordPart
	body []byte
}

// countPart adds the part to a settlement that a task is of its chord. Results that are
// ignored count, too. Where chords are polled, there is nothing to count.
func (o *outcomes) countPart(s *settlement, state protocol.State, result []byte) {
	r := s.req
	if r.Task == nil || !r.inChord() || o.pollsChords {
		return
	}
	s.with().parts = append(s.with().parts, part{backend.ChordPart{
		GroupID: r.GroupID, Index: r.GroupIndex, TaskID: r.ID, State: state, Result: result, Size: chordSize(r.Embed.Chord),
	}, r.Embed.Chord})
}

// chordSize is where producers before Celery 5.1 say how many parts there are.
func chordSize(body []byte) int {
	var size int
	if raw := pyjson.Member(body, "chord_size"); raw == nil || pyjson.Unmarshal(raw, &size) != nil {
		return 0
	}
	return size
}
