package stubs

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/apium/apium/internal/fnmatch"
	"github.com/apium/apium/internal/nearest"
)

// Pick returns those of the names that are asked for, by name or by a shell pattern, in their
// order; all, if nothing is asked for. It is an error to ask for what there is not.
func Pick(names, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return names, nil
	}
	picked := map[string]bool{}
	for _, pattern := range asked {
		re, err := regexp.Compile(fnmatch.Translate(pattern))
		if err != nil {
			return nil, fmt.Errorf("%q is no pattern: %w", pattern, err)
		}
		found := false
		for _, name := range names {
			if name == pattern || re.MatchString(name) {
				picked[name], found = true, true
			}
		}
		if !found {
			return nil, unknownTask(pattern, names)
		}
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !picked[name] }), nil
}

func unknownTask(name string, known []string) error {
	hint := ""
	if near := nearest.Name(name, known); near != "" {
		hint = fmt.Sprintf(". Did you mean %q?", near)
	}
	return fmt.Errorf("there is no task %q%s", name, hint)
}
