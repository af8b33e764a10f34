package redisconn

import (
	"bytes"
	"testing"
)

// TestOutgoing: what is written is sent in its order, whatever its size; large texts are not copied, and no buffer
// grows beyond what is kept.
func TestOutgoing(t *testing.T) {
	t.Parallel()
	w := &wire{established: true}
	var want []byte
	large := 0
	for i, size := range []int{1, 100, LargeText - 1, LargeText, 3, keepBuffer, 3 * keepBuffer, LargeText - 1} {
		for range 20 {
			p := bytes.Repeat([]byte{byte('a' + i)}, size)
			if n, err := w.Write(p); n != size || err != nil {
				t.Fatal(n, err)
			}
			want = append(want, p...)
			if size >= LargeText {
				large++
				if got := w.out.pieces[len(w.out.pieces)-1].text; &got[0] != &p[0] || len(w.out.rest) > 0 {
					t.Errorf("%d bytes were copied", size)
				}
			}
		}
	}
	out := w.take(outgoing{})
	out.cut()
	var got []byte
	for _, piece := range out.pieces {
		got = append(got, piece.text...)
		if len(piece.text) > keepBuffer && len(piece.text) != 3*keepBuffer {
			t.Errorf("a buffer has grown to %d bytes", len(piece.text))
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes are to be sent, want %d, or others", len(got), len(want))
	}
	if len(out.pieces) < large || !w.out.empty() {
		t.Errorf("%d pieces, %d of them large; more is left: %v", len(out.pieces), large, !w.out.empty())
	}
}
