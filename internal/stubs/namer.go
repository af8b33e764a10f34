package stubs

import (
	"slices"
	"strconv"
)

// namer hands out names, each once.
type namer map[string]bool

// newNamer returns a namer that never hands out the names given.
func newNamer(taken ...[]string) namer {
	n := namer{}
	for _, names := range taken {
		for _, name := range names {
			n[name] = true
		}
	}
	return n
}

// take returns the first of the candidates that is free, or the last of them with a number.
func (n namer) take(candidates ...string) string {
	for _, name := range candidates {
		if !n[name] {
			n[name] = true
			return name
		}
	}
	for i := 2; ; i++ {
		if name := candidates[len(candidates)-1] + strconv.Itoa(i); !n[name] {
			n[name] = true
			return name
		}
	}
}

// takeAll takes one name for each list of candidates. Those that would like to have the same name
// all get another.
func (n namer) takeAll(candidates [][]string) (names []string) {
	wanted := map[string]int{}
	for _, list := range candidates {
		for _, name := range list {
			wanted[name]++
		}
	}
	for _, list := range candidates {
		own := slices.DeleteFunc(slices.Clone(list), func(name string) bool { return wanted[name] > 1 })
		names = append(names, n.take(slices.Concat(own, list)...))
	}
	return names
}
