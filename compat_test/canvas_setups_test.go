package compat_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestCanvasSetups compares, as TestCanvas does, what canvases leave that older Celery
// versions have sent, and with settings that are not the defaults. What a Python worker of
// Celery 5.7 makes of them is right, but for chords from Celery 4.4: their bodies never run
// there. What succeeds has the results that Celery 4.4's own worker gives, which knows no
// order in them, and runs as often.
func TestCanvasSetups(t *testing.T) {
	t.Parallel()
	cases := slices.Concat(plainCases(), randomCases(20261125, 60))
	old := slices.DeleteFunc(slices.Clone(cases), func(kase canvasCase) bool { return !kase.Canvas.old() })
	runs := map[string]canvasRun{
		"Celery 5.2":        {cases: old, producer: celery52},
		"Celery 4.4":        {cases: succeeding(old), producer: celery44, worker: celery44},
		"backend elsewhere": {cases: cases, backend: 2},
		"unordered": {cases: cases, settings: map[string]any{
			"result_backend_transport_options": map[string]any{"result_chord_ordered": false},
		}},
		"errbacks on headers": {cases: cases, settings: map[string]any{"task_allow_error_cb_on_chord_header": true}},
		"track started":       {cases: cases, settings: map[string]any{"task_track_started": true, "task_acks_late": true}},
	}
	for name, run := range runs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kinds := []string{"python", "apium", "mixed"}
			if run.worker != "" || name == "unordered" { // then the order depends on who is faster
				kinds = kinds[:2]
			}
			left := map[string]map[string]remains{}
			for _, kind := range kinds {
				left[kind] = run.run(t, kind)["python"]
				switch {
				case run.worker != "":
					keepResults(left[kind])
				case name == "unordered":
					dropOrder(left[kind])
				}
			}
			for _, kind := range kinds[1:] {
				compareCases(t, kind, run.cases, left["python"], left[kind], kind == "mixed")
			}
			t.Logf("%d cases", len(run.cases))
		})
	}
}

// TestCanvasInSQL compares them where results are in databases: Celery's and our worker, and children of ours,
// with half of the tasks in Go. Chords that wait for ever there with Celery are left out.
func TestCanvasInSQL(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"django-db in PostgreSQL", "database in SQLite"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			run := canvasRun{place: place}
			for i, kase := range plainCases() {
				if kase.Canvas.endsInSQL() && i%3 == 0 {
					run.cases = append(run.cases, kase)
				}
			}
			want := run.run(t, "python")["python"]
			for _, kind := range []string{"apium", "both"} {
				compareCases(t, kind, run.cases, want, run.run(t, kind)["python"], true)
			}
			t.Logf("%d cases", len(run.cases))
		})
	}
}

// plainCases are those of the matrix that deliver no message twice, with the first call
// failing or none.
func plainCases() []canvasCase {
	return slices.DeleteFunc(matrix(), func(kase canvasCase) bool {
		return !strings.HasSuffix(kase.Name, ": success") && !strings.HasSuffix(kase.Name, ": error 0")
	})
}

// succeeding are the cases of the matrix in which nothing fails, nor is replaced: what
// follows the task is lost in Celery 4.4.
func succeeding(cases []canvasCase) []canvasCase {
	return slices.DeleteFunc(slices.Clone(cases), func(kase canvasCase) bool {
		return !strings.HasSuffix(kase.Name, ": success") || strings.HasPrefix(kase.Name, "replace ")
	})
}

// dropOrder sorts the lists in everything that was left.
func dropOrder(left map[string]remains) {
	for _, keys := range left {
		for _, values := range keys {
			for _, fields := range values {
				for name, value := range fields {
					fields[name] = sorted(value)
				}
			}
		}
	}
}

// keepResults drops everything but what a client reads, in no order, and how often tasks
// have run.
func keepResults(left map[string]remains) {
	for _, keys := range left {
		maps.DeleteFunc(keys, func(key string, _ []map[string]any) bool {
			return !strings.HasPrefix(key, "runs of ") && !strings.HasPrefix(key, "what Python reads ")
		})
		for _, values := range keys {
			if value := values[0]["value"]; value != nil {
				values[0]["value"] = sorted(value)
			}
		}
	}
}

// old tells that older versions can send the canvas such that Celery 5.7 runs it: without
// stamps, without errbacks where there are groups, which make them immutable, and with
// nothing in headers but calls and chains, as they get the sizes of others wrong.
func (e *expr) old() bool {
	fine, groups, errbacks := true, false, false
	e.walk(func(e *expr) {
		fine = fine && e.Stamps == nil
		groups, errbacks = groups || e.Do == "group", errbacks || e.Errors != nil
		for i, inner := range e.Of {
			switch {
			case e.Do == "chord":
				fine = fine && !inner.joined()
			case e.Do == "chain" && inner.Do == "group" && i < len(e.Of)-1:
				fine = fine && !slices.ContainsFunc(inner.Of, (*expr).joined)
			}
		}
	})
	return fine && (!groups || !errbacks)
}

// joined tells that there is a group or chord in a canvas, or a task that becomes one.
func (e *expr) joined() (found bool) {
	e.walk(func(e *expr) {
		found = found || e.Do == "group" || e.Do == "chord" || e.Do == "chunks" || e.Kwargs["by"] != nil
	})
	return found
}

// endsInSQL tells that Celery comes to an end with a canvas whose results are in SQL: there it waits for ever
// for members of chords that have no result, or that are more than it knew.
func (e *expr) endsInSQL() bool {
	ends := true
	e.walk(func(e *expr) {
		ends = ends && e.Task != "canvas.ignored" && e.Task != "canvas.more" && (e.Do != "chord" || !e.tie())
	})
	return ends
}
