package sample

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/apium/apium/protocol/pyjson"
	"github.com/apium/apium/tasks"
)

// Add returns x + y as Python computes it: for numbers, integers of any size among
// them, for strings and for lists.
func Add(x, y any) (any, error) {
	switch x := x.(type) {
	case string:
		if y, ok := y.(string); ok {
			return x + y, nil
		}
		return nil, tasks.Raise("TypeError", fmt.Sprintf(`can only concatenate str (not "%s") to str`, typeName(y)))
	case []any:
		if y, ok := y.([]any); ok {
			return slices.Concat(x, y), nil
		}
		return nil, tasks.Raise("TypeError", fmt.Sprintf(`can only concatenate list (not "%s") to list`, typeName(y)))
	}
	i, xInt := integer(x)
	j, yInt := integer(y)
	f, xFloat := x.(float64)
	g, yFloat := y.(float64)
	switch {
	case xInt && yInt:
		return i.Add(i, j), nil
	case xInt && yFloat:
		return addFloat(i, g)
	case xFloat && yInt:
		return addFloat(j, f)
	case xFloat && yFloat:
		return f + g, nil
	}
	return nil, tasks.Raise("TypeError",
		fmt.Sprintf("unsupported operand type(s) for +: '%s' and '%s'", typeName(x), typeName(y)))
}

func addFloat(i *big.Int, f float64) (any, error) {
	g, _ := new(big.Float).SetInt(i).Float64()
	if math.IsInf(g, 0) {
		return nil, tasks.Raise("OverflowError", "int too large to convert to float")
	}
	return f + g, nil
}

// integer reads an int, and a bool, which is one in Python.
func integer(v any) (*big.Int, bool) {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v), true
	case *big.Int:
		return new(big.Int).Set(v), true
	case bool:
		if v {
			return big.NewInt(1), true
		}
		return new(big.Int), true
	}
	return nil, false
}

// typeName names the Python type of a decoded argument.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case []any:
		return "list"
	case map[string]any:
		return "dict"
	case []byte:
		return "bytes"
	case time.Time:
		return "datetime.datetime"
	case pyjson.Date:
		return "datetime.date"
	case pyjson.Clock:
		return "datetime.time"
	case pyjson.Decimal:
		return "decimal.Decimal"
	case pyjson.UUID:
		return "UUID"
	}
	return fmt.Sprintf("%T", v)
}
