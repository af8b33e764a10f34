package broker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/apium/apium/broker"
)

// consumer has one ability, and what it wraps has another.
type consumer struct{ broker.Consumer }

func (consumer) Started(context.Context, ...string) error { return nil }

type unclaimer struct{ broker.Consumer }

func (unclaimer) Unclaim(context.Context, ...broker.Delivery) error { return nil }

func (unclaimer) Started(context.Context, ...string) error { return errors.New("inner") }

type wrapping struct{ consumer }

func (w wrapping) Unwrap() broker.Consumer { return unclaimer{} }

func TestAbilitiesOf(t *testing.T) {
	t.Parallel()
	able := broker.AbilitiesOf(wrapping{})
	if able.Unclaimer == nil {
		t.Error("the ability of the inner consumer is lost")
	}
	if able.Starter == nil || able.Starter.Started(t.Context()) != nil {
		t.Error("the ability of the outer consumer does not come first")
	}
	if able.Parker != nil || broker.AbilitiesOf(consumer{}).Unclaimer != nil || broker.AbilitiesOf(nil) != (broker.Abilities{}) {
		t.Error("abilities that nobody has")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	one, two := &broker.RefusedError{Index: 1}, &broker.RefusedError{Index: 2}
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{one, 1},
		{fmt.Errorf("publish: %w", one), 1},
		{errors.Join(one, fmt.Errorf("and %w", two)), 2},
		{errors.Join(one, errors.New("the connection broke")), 0},
		{errors.New("the connection broke"), 0},
	} {
		if got := broker.Refusals(c.err); len(got) != c.want {
			t.Errorf("%v: %d refusals, want %d", c.err, len(got), c.want)
		}
	}
}
