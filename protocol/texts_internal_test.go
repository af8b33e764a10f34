package protocol

import (
	"bytes"
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

// A task's id is a part of a small message, and keeps no large one in memory.
func TestAnIDKeepsNoLargeMessage(t *testing.T) {
	t.Parallel()
	headers := []byte(`{"task": "app.add", "id": "the-id", "eta": null, "expires": null}`)
	id := &headers[bytes.Index(headers, []byte("the-id"))]
	for size, part := range map[int]bool{100: true, smallMessage: false} {
		var r Received
		r.Set(&Message{Headers: headers, ContentType: ContentTypeJSON, Body: make([]byte, size)}, &Info{})
		task, err := new(Decoder).DecodeHeaders(&r)
		if err != nil || task.ID != "the-id" || task.Name != "app.add" {
			t.Fatalf("%v, %+v", err, task)
		}
		if got := unsafe.StringData(task.ID) == id; got != part {
			t.Errorf("with a body of %d bytes the id is part of the message: %v", size, got)
		}
	}
}
