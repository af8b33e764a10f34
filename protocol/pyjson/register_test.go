package pyjson_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/protocol/pyjson"
)

type money struct{ Amount, Currency string }

// tree holds others of its kind in its __value__.
type tree struct{ Children []tree }

// celsius is read from a number.
type celsius float64

var errCurrency = errors.New("unknown currency")

func register() {
	pyjson.RegisterType("wire.money",
		func(m money) ([2]string, error) {
			if m.Currency == "" {
				return [2]string{}, errCurrency
			}
			return [2]string{m.Amount, m.Currency}, nil
		},
		func(v [2]string) (money, error) {
			if v[1] == "XXX" {
				return money{}, errCurrency
			}
			return money{v[0], v[1]}, nil
		})
	pyjson.RegisterType("wire.tree",
		func(t tree) ([]tree, error) { return t.Children, nil },
		func(v []tree) (tree, error) { return tree{v}, nil })
	pyjson.RegisterType("wire.celsius",
		func(c celsius) (float64, error) { return float64(c), nil },
		func(v float64) (celsius, error) { return celsius(v), nil })
}

func TestRegisteredTypes(t *testing.T) {
	t.Parallel()
	var before struct{ Price *money }
	if err := pyjson.Unmarshal([]byte(`{"price": {"Amount": "1", "Currency": "EUR"}}`), &before); err != nil {
		t.Fatal(err) // what was worked out for this type does not hold after the registration
	}
	register()
	tea := money{"1.10", "EUR"}
	price := mark("wire.money", `["1.10", "EUR"]`)
	for _, c := range []struct {
		text string
		want any
	}{
		{price, tea},
		{price, &tea},
		{`{"Price": ` + price + `}`, struct{ Price *money }{&tea}},
		{"[" + price + ", " + price + "]", []money{tea, tea}},
		{`{"a": ` + price + `}`, map[string]money{"a": tea}},
		{"[" + mark("wire.celsius", "36.6") + "]", []celsius{36.6}},
		{mark("wire.tree", "["+mark("wire.tree", "[]")+", "+mark("wire.tree", "["+mark("wire.tree", "[]")+"]")+"]"), tree{[]tree{{[]tree{}}, {[]tree{{[]tree{}}}}}}},
	} {
		if got, err := pyjson.Append(nil, c.want); err != nil || string(got) != c.text {
			t.Errorf("%+v is written as %s, %v, want %s", c.want, got, err, c.text)
		}
		checkReads(t, c.text, c.want)
	}
	var v any
	if err := pyjson.Unmarshal([]byte("["+price+"]"), &v); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any([]any{tea}), v); diff != "" {
		t.Error(diff)
	}
	// What stands for no money fills the struct as without the registration.
	checkReads(t, `{"Amount": "1", "Currency": "EUR"}`, money{"1", "EUR"})
	checkReads(t, price, json.RawMessage(price))
}

func TestRegisteredTypeErrors(t *testing.T) {
	t.Parallel()
	register()
	if _, err := pyjson.Append(nil, []money{{"1", ""}}); !errors.Is(err, errCurrency) {
		t.Errorf("writing without a currency: %v", err)
	}
	for text, want := range map[string]string{
		mark("wire.money", `["1", "XXX"]`): "bad __value__ for __type__ wire.money: unknown currency",
		mark("wire.money", `"1 EUR"`):      "bad __value__ for __type__ wire.money: cannot use str as Go [2]string",
	} {
		for _, dst := range []any{new(any), new(money), new(string)} {
			var marker *pyjson.MarkerError
			if err := pyjson.Unmarshal([]byte(text), dst); !errors.As(err, &marker) || err.Error() != want {
				t.Errorf("%s into %T: %v, want %s", text, dst, err, want)
			}
		}
		// The task fails, and no message is lost.
		if err := pyjson.CheckTypes([]byte(text)); err != nil {
			t.Errorf("CheckTypes looks into a registered type: %v", err)
		}
	}
	var typeErr *pyjson.TypeError
	err := pyjson.Unmarshal([]byte(mark("wire.money", `["1", "EUR"]`)), new(int))
	if !errors.As(err, &typeErr) || typeErr.Got != "wire.money" {
		t.Errorf("money into an int: %v", err)
	}
	deep := tree{}
	for range 2000 {
		deep = tree{[]tree{deep}}
	}
	if _, err := pyjson.Append(nil, deep); !errors.Is(err, pyjson.ErrTooDeep) {
		t.Errorf("2000 trees in one another: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a type without a marker is taken")
		}
	}()
	pyjson.RegisterType("", func(time.Month) (int, error) { return 0, nil }, func(int) (time.Month, error) { return 0, nil })
}

func checkReads(t *testing.T, text string, want any) {
	t.Helper()
	dst := reflect.New(reflect.TypeOf(want))
	if err := pyjson.Unmarshal([]byte(text), dst.Interface()); err != nil {
		t.Errorf("%s into %T: %v", text, want, err)
	} else if diff := cmp.Diff(want, dst.Elem().Interface()); diff != "" {
		t.Errorf("%s into %T (-want +got):\n%s", text, want, diff)
	}
}

// What lies in many objects that might be __type__ objects is not passed over once for
// each of them.
func TestNestedMarkersTakeLinearTime(t *testing.T) {
	t.Parallel()
	bulk := "[" + strings.Repeat(`"x", `, 100_000) + "1]"
	deep := strings.Repeat(`{"__type__": 1, "__value__": `, 900) + bulk + strings.Repeat("}", 900)
	quickest := func(text string, dst func() any) time.Duration {
		best := time.Hour
		for range 3 {
			start := time.Now()
			if err := pyjson.Unmarshal([]byte(text), dst()); err != nil {
				t.Fatal(err)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	flat := quickest(bulk, func() any { return new(any) })
	if took := quickest(deep, func() any { return new(any) }); took > 20*flat {
		t.Errorf("nested in 900 objects it takes %v, alone %v", took, flat)
	}
}
