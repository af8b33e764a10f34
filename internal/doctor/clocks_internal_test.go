package doctor

import (
	"strings"
	"testing"
	"time"

	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/internal/redistest"
	"github.com/apium/apium/settings"
)

// A difference is told only where it is certain, however long what was heard took to come.
func TestWindowApart(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, test := range []struct {
		clock, right window
		want         time.Duration
	}{
		{window{-s, s}, window{}, 0},
		{window{3 * s, 5 * s}, window{}, 3 * s},
		{window{-5 * s, -3 * s}, window{}, -3 * s},
		{window{-5 * s, -s}, window{}, 0}, // it may just have come late
		{window{s, 5 * s}, window{}, 0},
		{window{3 * s, 5 * s}, window{2 * s, 4 * s}, 0},
		{window{9 * s, 9 * s}, window{2 * s, 4 * s}, 5 * s},
		{window{}, window{99 * s, 100 * s}, -99 * s},
	} {
		if got := test.clock.to(test.right).apart(); got != test.want {
			t.Errorf("%v seen from %v is apart by %v, want %v", test.clock, test.right, got, test.want)
		}
	}
}

// This machine's clock is held against that of a real Redis.
func TestClockOfThisMachine(t *testing.T) {
	t.Parallel()
	conf := settings.Default()
	conf.BrokerURL = redistest.Start(t).URL(0)
	places := fromsettings.URLs(conf)
	if err := places.Read(conf); err != nil {
		t.Fatal(err)
	}
	for ahead, want := range map[time.Duration]string{0: "", time.Hour: "this machine is at least 60 min ahead", -3 * 24 * time.Hour: "this machine is at least 3 days behind"} {
		r, err := Examine(t.Context(), &Patient{Settings: conf, Places: &places, Now: func() time.Time { return time.Now().Add(ahead) }})
		if err != nil {
			t.Fatal(err)
		}
		said := ""
		for _, f := range r.Findings {
			if f.Check == "clocks" {
				said += strings.Join(f.Details, "|")
			}
		}
		if said != want {
			t.Errorf("%v ahead: %q, want %q", ahead, said, want)
		}
	}
}
