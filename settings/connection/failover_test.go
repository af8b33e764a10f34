package connection

import "testing"

func TestFailover(t *testing.T) {
	t.Parallel()
	var f Failover
	if place := f.Place(3); place != 0 {
		t.Errorf("the first is %d", place)
	}
	f.Use(2)
	if place := f.Place(3); place != 2 {
		t.Errorf("after the third worked: %d", place)
	}
	seen := map[int]bool{}
	for range 200 { // one in 10^35 that a place is missing
		f := Failover{Shuffle: true}
		place := f.Place(3)
		if again := f.Place(3); again != place {
			t.Errorf("first %d, then %d", place, again)
		}
		seen[place] = true
	}
	if len(seen) != 3 {
		t.Errorf("shuffled: %v", seen)
	}
}
