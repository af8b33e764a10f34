package tasks_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/apium/apium/tasks"
)

func TestParseShare(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]tasks.Share{
		"0": 0, "0%": 0, "10%": 1000, " 10 % ": 1000, "0.01%": 1, "33.33": 3333, "100": tasks.WholeShare, "1e1": 1000,
	} {
		got, err := tasks.ParseShare(text)
		if err != nil || got != want {
			t.Errorf("%q = %d, %v, want %d", text, got, err, want)
		}
		if again, err := tasks.ParseShare(got.String()); err != nil || again != got {
			t.Errorf("%q is written %q, which is %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "%", "ten", "-1", "101%", "100.01", "NaN", "Inf", "10%%", "0.001%", "0.1/s"} {
		if got, err := tasks.ParseShare(text); err == nil {
			t.Errorf("%q = %v, want an error", text, got)
		}
	}
}

// A share takes about as many tasks as it says, whatever their ids look like; those of a smaller one are among them.
func TestShareTakes(t *testing.T) {
	t.Parallel()
	const n = 20000
	for _, format := range []string{"%d", "5c8a8bb2-3c1e-4b4e-9f0a-%012x", "%032x-task", "order-%d-paid"} {
		for _, percent := range []int{0, 1, 10, 50, 90, 100} {
			share, taken := tasks.Share(percent*100), 0
			for i := range n {
				id := fmt.Sprintf(format, i)
				if share.Takes(id) {
					taken++
					if !(share + 1).Takes(id) {
						t.Fatalf("%s is part of %v, not of more", id, share)
					}
				}
			}
			got := 100 * float64(taken) / n
			if off := math.Abs(got - float64(percent)); off > 1 || (percent == 0 || percent == 100) && off != 0 {
				t.Errorf("%s: %d%% takes %.2f%%", format, percent, got)
			}
		}
	}
}
