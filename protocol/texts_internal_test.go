package protocol

import (
	"testing"
	"unsafe"
)

// What is there twice is stored once, whatever stands between, and nothing is taken for something else.
func TestTextsAreStoredOnce(t *testing.T) {
	t.Parallel()
	var x texts
	from := []string{"one", "two", "", "one", "six", "two", "sixteen", "one"}
	to := make([]string, len(from))
	for i := range from {
		x.add(&to[i], []byte(from[i]))
	}
	x.store()
	for i := range from {
		if to[i] != from[i] {
			t.Errorf("text %d is %q, want %q", i, to[i], from[i])
		}
	}
	for _, twins := range [][2]int{{0, 3}, {0, 7}, {1, 5}} {
		if a, b := to[twins[0]], to[twins[1]]; unsafe.StringData(a) != unsafe.StringData(b) {
			t.Errorf("texts %v are stored twice", twins)
		}
	}
	if unsafe.StringData(to[0]) == unsafe.StringData(to[1]) {
		t.Error("different texts share their memory")
	}
}
