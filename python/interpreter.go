package python

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// interpreter finds the Python that loads an app: the one that is named, or else that of the
// virtual environment, that of the celery command beside this program or on the PATH, or python3
// or python of the PATH. which says why it is this one.
func interpreter(named string) (path, which string, err error) {
	s := surroundings{virtualEnv: os.Getenv("VIRTUAL_ENV"), path: os.Getenv("PATH")}
	if program, err := os.Executable(); err == nil {
		s.folder = filepath.Dir(program)
	}
	return s.interpreter(named)
}

// surroundings are where a Python is looked for.
type surroundings struct {
	virtualEnv, path string
	folder           string // of this program; "": unknown
}

func (s surroundings) interpreter(named string) (path, which string, err error) {
	if named != "" {
		path, err := s.look(named)
		if err != nil {
			return "", "", fmt.Errorf("cannot run %s: %w", named, err)
		}
		return path, "the Python that was named", nil
	}
	var missed []string
	for _, find := range []func() (path, which, missed string){s.ofVirtualEnv, s.ofCelery, s.ofPath} {
		path, which, why := find()
		if path != "" && missed != nil {
			which += " (" + strings.Join(missed, "; ") + ")"
		}
		if path != "" {
			return path, which, nil
		}
		missed = append(missed, why)
	}
	return "", "", errors.New("no Python was found: " + strings.Join(missed, "; "))
}

func (s surroundings) ofVirtualEnv() (path, which, missed string) {
	if s.virtualEnv == "" {
		return "", "", "VIRTUAL_ENV is not set"
	}
	path, err := s.look(filepath.Join(s.virtualEnv, "bin", "python"))
	if err != nil {
		return "", "", "VIRTUAL_ENV is " + s.virtualEnv + ", which has no bin/python"
	}
	return path, "the Python of VIRTUAL_ENV", ""
}

func (s surroundings) ofCelery() (path, which, missed string) {
	script, err := s.celery()
	if err != nil {
		return "", "", "there is no celery beside this program or on the PATH"
	}
	python := scriptInterpreter(script)
	if python == "" {
		return "", "", script + " does not say which Python it runs with"
	}
	if path, err = s.look(python); err != nil {
		return "", "", script + " runs with " + python + ", which cannot be run"
	}
	return path, "the Python of " + script, ""
}

// celery is the celery command that pip has put into the same folder as this program, for the
// same project, or else the one on the PATH.
func (s surroundings) celery() (string, error) {
	if s.folder != "" {
		if script, err := s.look(filepath.Join(s.folder, "celery")); err == nil {
			return script, nil
		}
	}
	return s.look("celery")
}

func (s surroundings) ofPath() (path, which, missed string) {
	for _, name := range []string{"python3", "python"} {
		if path, err := s.look(name); err == nil {
			return path, name + " on the PATH", ""
		}
	}
	return "", "", "there is neither python3 nor python on the PATH"
}

// look finds an executable as a shell does, and returns its absolute path. Links are not
// followed: by that of its own a Python knows its virtual environment.
func (s surroundings) look(name string) (string, error) {
	candidates := []string{name}
	if !strings.ContainsRune(name, filepath.Separator) {
		candidates = nil
		for _, dir := range filepath.SplitList(s.path) {
			candidates = append(candidates, filepath.Join(dir, name))
		}
	}
	err := fs.ErrNotExist
	for _, candidate := range candidates {
		candidate, absErr := filepath.Abs(candidate)
		if absErr != nil {
			return "", absErr
		}
		if _, err = exec.LookPath(candidate); err == nil {
			return candidate, nil
		}
		err = withoutPath(err)
	}
	return "", err
}

// withoutPath is an error without the file that it names: who says it names the file.
func withoutPath(err error) error {
	var looked *exec.Error
	if errors.As(err, &looked) {
		err = looked.Err
	}
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = failed.Err
	}
	return err
}

// scriptInterpreter returns the Python that a script's first lines name: a path, or a name to
// be looked for; "": none.
func scriptInterpreter(script string) string {
	file, err := os.Open(script)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	start, err := io.ReadAll(io.LimitReader(file, 4096))
	if err != nil || !bytes.HasPrefix(start, []byte("#!")) {
		return ""
	}
	line, rest, _ := strings.Cut(string(start[2:]), "\n")
	words := strings.Fields(line)
	if len(words) == 0 {
		return ""
	}
	python := words[0]
	switch filepath.Base(python) {
	case "env":
		i := slices.IndexFunc(words[1:], isPython) // behind -S and assignments
		if i < 0 {
			return ""
		}
		python = words[1+i]
	case "sh", "bash", "dash":
		python = executed(rest, script)
	}
	if !isPython(python) {
		return ""
	}
	return python
}

func isPython(path string) bool {
	name := filepath.Base(path)
	return strings.HasPrefix(name, "python") || strings.HasPrefix(name, "pypy")
}

var (
	// execLine is the line of a shell script that becomes another program. pip and uv write
	// '''exec' where a path is too long for a first line, or has spaces: Python reads it as a text.
	execLine = regexp.MustCompile(`(?m)^\s*(?:'''exec'|exec)\s+(.+)$`)
	// besideScript is a folder that a script asks for its own name, as in a virtual environment of
	// uv's that can be moved.
	besideScript = regexp.MustCompile(`^"\$\(.*\$0.*\)"/`)
)

// executed returns the program that a shell script becomes; "": none is found.
func executed(source, script string) string {
	found := execLine.FindStringSubmatch(source)
	if found == nil {
		return ""
	}
	command, folder := found[1], ""
	if prefix := besideScript.FindString(command); prefix != "" {
		real, err := filepath.EvalSymlinks(script)
		if err != nil {
			return ""
		}
		command, folder = command[len(prefix):], filepath.Dir(real)
	}
	return filepath.Join(folder, firstWord(command))
}

// firstWord reads a word as a shell does, without expanding anything.
func firstWord(command string) string {
	var word strings.Builder
	var quote rune
	for _, c := range command {
		switch {
		case c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && (c == ' ' || c == '\t'):
			return word.String()
		default:
			word.WriteRune(c)
		}
	}
	return word.String()
}
