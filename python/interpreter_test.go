package python

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// executable writes a file that can be run, and returns its path.
func executable(t *testing.T, content string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	return file
}

// The first of the places that has a Python counts.
func TestInterpreterByPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	venv := executable(t, "", dir, "venv", "bin", "python")
	ofCelery := executable(t, "", dir, "project", "bin", "python3.11")
	celery := executable(t, "#!"+ofCelery+" -sE\n", dir, "with celery", "celery")
	python3 := executable(t, "", dir, "new", "python3")
	old := executable(t, "", dir, "old", "python")
	other := executable(t, "#!/usr/bin/perl\n", dir, "other", "celery")
	gone := executable(t, "#!"+dir+"/gone/python\n", dir, "stale", "celery")
	path := func(scripts ...string) string {
		var dirs []string
		for _, s := range scripts {
			dirs = append(dirs, filepath.Dir(s))
		}
		return strings.Join(dirs, string(filepath.ListSeparator))
	}
	for _, test := range []struct {
		name, named, virtualEnv, path string
		want, which, err              string
	}{
		{"named", old, filepath.Join(dir, "venv"), path(celery), old, "the Python that was named", ""},
		{"named, on the PATH", "python3", "", path(celery, python3), python3, "the Python that was named", ""},
		{"named, not there", "/no/such/python", filepath.Join(dir, "venv"), "", "", "", "cannot run /no/such/python: no such file or directory"},
		{"named, not on the PATH", "python3.99", "", path(python3), "", "", "cannot run python3.99: no such file or directory"},
		{"named, a folder", dir, "", "", "", "", "cannot run " + dir + ": is a directory"},
		{"virtual environment", "", filepath.Join(dir, "venv"), path(celery, python3), venv, "the Python of VIRTUAL_ENV", ""},
		{"celery", "", "", path(python3, celery), ofCelery, "the Python of " + celery + " (VIRTUAL_ENV is not set)", ""},
		{"broken virtual environment", "", filepath.Join(dir, "gone"), path(python3, celery), ofCelery, "the Python of " + celery + " (VIRTUAL_ENV is " + dir + "/gone, which has no bin/python)", ""},
		{
			"celery in another language", "", "", path(other, old, python3), python3,
			"python3 on the PATH (VIRTUAL_ENV is not set; " + other + " does not say which Python it runs with)", "",
		},
		{
			"celery whose Python is gone", "", "", path(gone, old), old,
			"python on the PATH (VIRTUAL_ENV is not set; " + gone + " runs with " + dir + "/gone/python, which cannot be run)", "",
		},
		{
			"none", "", filepath.Join(dir, "gone"), path(gone), "", "",
			"no Python was found: VIRTUAL_ENV is " + dir + "/gone, which has no bin/python; " + gone + " runs with " + dir +
				"/gone/python, which cannot be run; there is neither python3 nor python on the PATH",
		},
		{
			"nothing at all", "", "", "", "", "",
			"no Python was found: VIRTUAL_ENV is not set; there is no celery beside this program or on the PATH; there is neither python3 nor python on the PATH",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, which, err := surroundings{virtualEnv: test.virtualEnv, path: test.path}.interpreter(test.named)
			said := ""
			if err != nil {
				said = err.Error()
			}
			if got != test.want || which != test.which || said != test.err {
				t.Errorf("got %q, %q, %q\nwant %q, %q, %q", got, which, said, test.want, test.which, test.err)
			}
		})
	}
}

// pip puts this program beside the celery of a project: a unit file names it by its path alone.
func TestInterpreterBesideThisProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	venv, beside, elsewhere := filepath.Join(dir, "venv"), filepath.Join(dir, "beside", "bin"), filepath.Join(dir, "elsewhere")
	ofVenv := executable(t, "", venv, "bin", "python")
	ofCelery := executable(t, "", beside, "python")
	celery := executable(t, "#!"+ofCelery+"\n", beside, "celery")
	ofOther := executable(t, "", elsewhere, "python3")
	other := executable(t, "#!"+ofOther+"\n", elsewhere, "celery")
	for _, test := range []struct {
		name        string
		from        surroundings
		want, which string
	}{
		{"before the PATH", surroundings{folder: beside, path: elsewhere}, ofCelery, "the Python of " + celery + " (VIRTUAL_ENV is not set)"},
		{"after VIRTUAL_ENV", surroundings{folder: beside, virtualEnv: venv}, ofVenv, "the Python of VIRTUAL_ENV"},
		{"no celery there", surroundings{folder: filepath.Join(venv, "bin"), path: elsewhere}, ofOther, "the Python of " + other + " (VIRTUAL_ENV is not set)"},
	} {
		got, which, err := test.from.interpreter("")
		if got != test.want || which != test.which || err != nil {
			t.Errorf("%s: got %q, %q, %v, want %q, %q", test.name, got, which, err, test.want, test.which)
		}
	}
}

// The Python of a celery command is what its first lines say, as pip, uv and others write them.
func TestScriptInterpreter(t *testing.T) {
	t.Parallel()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ script, want string }{
		"pip":             {"#!/srv/app/bin/python3.11\n# -*- coding: utf-8 -*-\n", "/srv/app/bin/python3.11"},
		"with options":    {"#!/srv/app/bin/python -sE\n", "/srv/app/bin/python"},
		"spaces before":   {"#! /srv/app/bin/python\n", "/srv/app/bin/python"},
		"pypy":            {"#!/srv/pypy/bin/pypy3\n", "/srv/pypy/bin/pypy3"},
		"env":             {"#!/usr/bin/env python3\n", "python3"},
		"env -S":          {"#!/usr/bin/env -S LANG=C python3.12 -I\n", "python3.12"},
		"env of another":  {"#!/usr/bin/env ruby\n", ""},
		"pip, long":       {"#!/bin/sh\n'''exec' /srv/long/bin/python3 \"$0\" \"$@\"\n' '''\nimport re\n", "/srv/long/bin/python3"},
		"pip, spaces":     {"#!/bin/sh\n'''exec' \"/srv/my app/bin/python\" \"$0\" \"$@\"\n' '''\n", "/srv/my app/bin/python"},
		"uv, spaces":      {"#!/bin/sh\n'''exec' '/srv/it'\"'\"'s/bin/python' \"$0\" \"$@\"\n' '''\n", "/srv/it's/bin/python"},
		"uv, relocatable": {"#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python3' \"$0\" \"$@\"\n' '''\n", dir + "/real/python3"},
		"a wrapper":       {"#!/bin/bash\nset -e\nexport A=1\n  exec /srv/app/bin/python -m celery \"$@\"\n", "/srv/app/bin/python"},
		"pyenv's shim":    {"#!/usr/bin/env bash\nexec \"/root/.pyenv/libexec/pyenv\" exec \"$program\" \"$@\"\n", ""},
		"no exec":         {"#!/bin/sh\n/srv/app/bin/python -m celery\n", ""},
		"no script":       {"\x7fELF#!/srv/app/bin/python", ""},
		"no program":      {"#!\n", ""},
		"empty":           {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := executable(t, test.script, dir, "real", name)
			link := filepath.Join(dir, "link to "+name)
			if err := os.Symlink(file, link); err != nil {
				t.Fatal(err)
			}
			if got := scriptInterpreter(link); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
