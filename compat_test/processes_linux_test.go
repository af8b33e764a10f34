package compat_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// childrenOf returns the processes of Python that a process has started.
func childrenOf(t *testing.T, pid int) (pids []int) {
	t.Helper()
	for _, line := range processes(t) {
		if line.parent == pid && line.name != "sleep" {
			pids = append(pids, line.pid)
		}
	}
	return pids
}

type processLine struct {
	pid, parent int
	name        string
}

func processes(t *testing.T) (lines []processLine) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		var line processLine
		var state string
		if _, err := fmt.Sscan(string(text[:open]), &line.pid); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(string(text[end+1:]), &state, &line.parent); err != nil {
			t.Fatal(err)
		}
		if line.name = string(text[open+1 : end]); state != "Z" {
			lines = append(lines, line)
		}
	}
	return lines
}

// belonging are the processes that have a text in their environment, but the tasks' own.
func belonging(t *testing.T, text string) (pids []int) {
	t.Helper()
	for _, line := range processes(t) {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", line.pid))
		if err == nil && bytes.Contains(environ, []byte(text)) && line.name != "sleep" {
			pids = append(pids, line.pid)
		}
	}
	return pids
}
