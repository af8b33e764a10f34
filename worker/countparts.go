package worker

import (
	"context"
	"errors"
	"slices"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/internal/logline"
)

// countParts counts the parts of a group of settlements in one call. What completes a
// chord is left to the settlement's finish.
func (s *lane) countParts(ctx context.Context, group []settlement) {
	parts, of := s.parts[:0], s.partsOf[:0]
	for i := range group {
		if f := group[i].flow; f != nil {
			lost := group[i].req.lost.Load()
			for j := range f.parts {
				if lost && f.parts[j].Record == nil {
					continue
				}
				parts, of = append(parts, f.parts[j].ChordPart), append(of, partOf{&group[i], j})
			}
		}
	}
	if len(parts) == 0 {
		return
	}
	s.parts, s.partsOf = parts, of
	defer clear(parts)
	if s.Chords == nil {
		s.log.Error("A task is part of a chord, and "+errNoChords.Error()+": its body will not run",
			logline.EventKey, "A chord's body will not run", "error", errNoChords)
		return
	}
	counted, ok := s.count(ctx, parts)
	if !ok {
		return
	}
	for _, c := range completed(counted, parts, of) {
		f, r := c.settlement.flow, c.settlement.req
		p := f.parts[c.index]
		f.finish = append(f.finish, func(ctx context.Context, rest *settlement) { s.complete(ctx, r, p, c.count, rest) })
	}
}

// completion says which part sees to the body of its chord.
type completion struct {
	partOf
	count backend.ChordCount
}

// completed returns one part of each chord that is complete. Of parts that are counted together once more, as the answer was lost, each is
// told so: if one could not say in time that it has published the body, the next would publish it again. One that is
// acknowledged late comes again should this worker die.
func completed(counted []backend.ChordCount, parts []backend.ChordPart, of []partOf) (all []completion) {
	for i, count := range counted {
		if count.State != backend.ChordComplete && count.State != backend.ChordClaimed {
			continue
		}
		at := slices.IndexFunc(all, func(c completion) bool { return c.settlement.flow.parts[c.index].GroupID == parts[i].GroupID })
		if at < 0 {
			all = append(all, completion{of[i], count})
			continue
		}
		same := &all[at]
		if count.State == backend.ChordComplete {
			same.count = count
		}
		if of[i].settlement.fate == late && same.settlement.fate != late {
			same.partOf = of[i]
		}
	}
	return all
}

// joinParts gives the parts of a settlement their records, where both are written in one step, and
// returns the records that are left.
func (s *settler) joinParts(one *settlement, records []backend.Record) []backend.Record {
	if s.Lists == nil || one.flow == nil {
		return records
	}
	for i := range one.flow.parts {
		p := &one.flow.parts[i]
		if at := slices.IndexFunc(records, func(r backend.Record) bool { return r.TaskID == p.TaskID }); at >= 0 {
			record := records[at]
			p.Record = &record
			records = slices.Delete(records, at, at+1)
		}
	}
	return records
}

// partOf says whose part one is.
type partOf struct {
	settlement *settlement
	index      int
}

func (s *settler) count(ctx context.Context, parts []backend.ChordPart) (counted []backend.ChordCount, ok bool) {
	ok = s.persist(ctx, "count parts of chords", func() (err error) {
		counted, err = s.Chords.Count(ctx, parts...)
		if refused := refusedRecords(err); refused != nil {
			for _, e := range refused {
				s.log.Error("Cannot count task "+e.TaskID+" as part of its chord: "+e.Err.Error(),
					logline.EventKey, "Cannot count a task as part of its chord", "task_id", e.TaskID, "error", e.Err)
			}
			return nil
		}
		return err
	})
	return counted, ok
}

// prepare does what must be in the backend before messages are published.
func (s *settler) prepare(ctx context.Context, group []settlement) {
	for i := range group {
		if f := group[i].flow; f != nil && !group[i].req.lost.Load() {
			for _, step := range f.Writes {
				s.persist(ctx, "prepare a chord", func() error {
					err := s.Write(ctx, step)
					if errors.Is(err, backend.ErrUnreadable) {
						s.log.taskError(group[i].req, "Cannot prepare a chord", "Cannot prepare a chord", err)
						return nil
					}
					return err
				})
			}
		}
	}
}
