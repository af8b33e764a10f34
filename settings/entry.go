package settings

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// kind is the type Celery's own table gives a setting.
type kind string

const (
	anything kind = "any"
	binary   kind = "bytes"
	boolean  kind = "bool"
	float    kind = "float"
	integer  kind = "int"
	list     kind = "list"
	mapping  kind = "dict"
	text     kind = "string"
	tuple    kind = "tuple"
)

// entry is one setting. It has a field, or says why it has no effect.
type entry struct {
	name string
	old  string // Celery 3's name; "": the name in capitals
	kind kind
	def  any // Celery's default

	field     func(s *Settings) any // where the value goes: what decoder.assign takes
	ours      bool                  // Celery's default is shown and not taken: without a value, the field is zero and we choose
	ignored   string                // why it has no effect although somebody may rely on it: said when the value is not the default
	byPython  bool                  // of ignored: a Python app sees to it
	elsewhere string                // what else it concerns: nobody misses it in a worker in Go
	retired   bool                  // of Celery 4, gone since
	unlisted  bool                  // Celery heeds it, but has it in no table
}

// entries is every setting, in the order in which they are read.
var entries = sync.OnceValue(func() []entry {
	return slices.Concat(taskEntries, workerEntries, brokerEntries, resultEntries, backendEntries, extensionEntries, otherEntries, ownEntries)
})

// spellings leads from every name of a setting, in capitals, to its entry: the new
// name, Celery 3's, and the new one in the namespace CELERY_, as in Django.
var spellings = sync.OnceValue(func() map[string]*entry {
	all := entries()
	names := make(map[string]*entry, 3*len(all))
	for i := range all {
		e := &all[i]
		name := strings.ToUpper(e.name)
		names[name] = e
		if e.old != "" {
			names[e.old] = e
		}
		if !strings.HasPrefix(e.name, ownPrefix) {
			names["CELERY_"+name] = e
		}
	}
	return names
})

// ownPrefix begins the names of settings that Celery does not have.
const ownPrefix = "apium_"

func lookup(key string) (*entry, bool) {
	e, ok := spellings()[strings.ToUpper(key)]
	return e, ok
}

// knownLike returns the known names in the spelling of key, to look for the nearest.
func knownLike(key string) []string {
	names := slices.Sorted(maps.Keys(spellings()))
	if key == strings.ToUpper(key) {
		return names
	}
	for i, e := range entries() {
		names[i] = e.name
	}
	return names[:len(entries())]
}
