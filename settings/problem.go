package settings

import (
	"fmt"
	"slices"
	"strings"
)

// Origin says where a setting was given. The zero value is that of a default.
type Origin struct {
	Source string // a file's path, "environment", "command line"; "" for an option and a default
	Key    string // as it is written there
}

// String is for messages: "celery.toml: CELERY_ACKS_LATE".
func (o Origin) String() string {
	switch {
	case o.Key == "":
		return o.Source
	case o.Source == "":
		return o.Key
	}
	return o.Source + ": " + o.Key
}

// Problem is one thing that is wrong with the settings.
type Problem struct {
	Origin  Origin
	Message string
	Nearest string // the known name that was probably meant, or ""
}

// String is the problem in one line.
func (p Problem) String() string {
	text := p.Message
	if where := p.Origin.String(); where != "" {
		text = where + ": " + text
	}
	if p.Nearest != "" {
		text += ". Did you mean '" + p.Nearest + "'?"
	}
	return text
}

// Error is every problem with the settings, in the order of the sources.
type Error struct {
	Problems []Problem
}

// Error lists the problems, one in a line.
func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return e.Problems[0].String()
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d problems with the settings:", len(e.Problems))
	for _, p := range e.Problems {
		text.WriteString("\n  " + p.String())
	}
	return text.String()
}

// OnCommandLine reports whether all that is wrong was given on the command line.
func (e *Error) OnCommandLine() bool {
	return !slices.ContainsFunc(e.Problems, func(p Problem) bool {
		return p.Origin.Source != commandLine && p.Origin.Source != ""
	})
}
