package compat_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/redisbackend"
	"github.com/apium/apium/protocol"
)

// pythonBackend is Celery's backend, driven through testdata/app/chords.py.
type pythonBackend struct {
	lines   io.Writer
	answers *json.Decoder
}

func startPythonBackend(t *testing.T, a app) *pythonBackend {
	t.Helper()
	cmd := exec.Command(a.python(), "chords.py")
	cmd.Dir = appDir
	cmd.Env = append(os.Environ(), a.env(t)...)
	var log logBuffer
	cmd.Stderr = &log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("chords.py: %v", err)
		}
		if t.Failed() {
			t.Logf("chords.py:\n%s", tail(log.String(), 3000))
		}
	})
	return &pythonBackend{lines: stdin, answers: json.NewDecoder(stdout)}
}

func (p *pythonBackend) call(t *testing.T, out any, command ...any) {
	t.Helper()
	line, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(p.lines, "%s\n", line); err != nil {
		t.Fatal(err)
	}
	var ignored any
	if out == nil {
		out = &ignored
	}
	if err := p.answers.Decode(out); err != nil {
		t.Fatalf("chords.py: %s: %v", line, err)
	}
}

func openBackend(t *testing.T, url string, cfg redisbackend.Config) *redisbackend.Backend {
	t.Helper()
	cfg.URL = url
	b, err := redisbackend.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestGroupRecords(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := startRedis(t)
			ours, peer := openBackend(t, s.url(0), redisbackend.Config{}), startPythonBackend(t, app{venv: venv, broker: s.url(0)})
			ids := []string{"1", "2"}
			peer.call(t, nil, "save", "theirs", ids)
			document, err := ours.LoadGroup(t.Context(), "theirs")
			if err != nil {
				t.Fatal(err)
			}
			if err := ours.SaveGroup(t.Context(), "ours", []byte(strings.ReplaceAll(string(document), "theirs", "ours"))); err != nil {
				t.Fatal(err)
			}
			var restored []string
			if peer.call(t, &restored, "restore", "ours"); !slices.Equal(restored, ids) {
				t.Errorf("restored %q of %s", restored, document)
			}
			if ours, theirs := s.int(t, "TTL", "celery-taskset-meta-ours"), s.int(t, "TTL", "celery-taskset-meta-theirs"); ours < theirs-1 || ours > theirs+60 {
				t.Errorf("TTL %d, Celery's, saved before, %d", ours, theirs)
			}
			if err := ours.DeleteGroup(t.Context(), "ours"); err != nil {
				t.Fatal(err)
			}
			if peer.call(t, &restored, "restore", "ours"); restored != nil {
				t.Errorf("restored %q after DeleteGroup", restored)
			}
		})
	}
}

// TestStatesThatAreFinal stores every state over every other, in Celery and in ours.
func TestStatesThatAreFinal(t *testing.T) {
	t.Parallel()
	for version, venv := range peers {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := startRedis(t)
			ours, peer := openBackend(t, s.url(1), redisbackend.Config{}), startPythonBackend(t, app{venv: venv, broker: s.url(0)})
			states := map[string]any{"STARTED": nil, "SUCCESS": nil, "FAILURE": nil, "RETRY": nil, "REVOKED": nil, "PROGRESS": nil, "PENDING": nil}
			for before := range states {
				for after := range states {
					id := before + after
					var theirs string
					for _, state := range []string{before, after} {
						result := protocol.Result{State: protocol.State(state), TaskID: id}
						if err := ours.Store(t.Context(), backend.Record{TaskID: id, Document: result.Append(nil)}); err != nil {
							t.Fatal(err)
						}
						peer.call(t, &theirs, "store", id, state, "x")
					}
					record, err := ours.Load(t.Context(), id)
					if err != nil {
						t.Fatal(err)
					}
					if got, err := backend.State(record); err != nil || string(got) != theirs {
						t.Errorf("%s over %s: we have %s, Celery %s (%v)", after, before, got, theirs, err)
					}
				}
			}
		})
	}
}
