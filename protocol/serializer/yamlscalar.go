package serializer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/apium/apium/protocol/pyjson"
)

type tagged struct {
	tag string
	re  *regexp.Regexp
}

// implicit are the types of plain scalars, in PyYAML's order and with its expressions (resolver.py);
// compiled when the first YAML is read, as most programs read none.
var implicit = sync.OnceValue(func() []tagged {
	return []tagged{
		{"!!bool", regexp.MustCompile(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)},
		{"!!float", regexp.MustCompile(`^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|` +
			`[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)},
		{"!!int", regexp.MustCompile(`^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|` +
			`[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)},
		{"!!null", regexp.MustCompile(`^(?:~|null|Null|NULL|)$`)},
		{"!!timestamp", regexp.MustCompile(`^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|` + timestamp + `)$`)},
	}
})

const timestamp = `[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?`

// scalar makes the value of a scalar node, as PyYAML's SafeConstructor.
func scalar(n *yaml.Node) (any, error) {
	tag := "!!str"
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		tag = n.ShortTag()
	case n.Style == 0:
		for _, t := range implicit() {
			if t.re.MatchString(n.Value) {
				tag = t.tag
				break
			}
		}
	}
	v, err := construct(tag, n)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", n.Line, err)
	}
	return v, nil
}

func construct(tag string, n *yaml.Node) (any, error) {
	switch tag {
	case "!!str", "!":
		return n.Value, nil
	case "!!null":
		return nil, nil
	case "!!bool":
		switch strings.ToLower(n.Value) {
		case "yes", "true", "on":
			return true, nil
		case "no", "false", "off":
			return false, nil
		}
		return nil, fmt.Errorf("%q is no bool", n.Value)
	case "!!int":
		return yamlInt(n.Value)
	case "!!float":
		return yamlFloat(n.Value)
	case "!!binary":
		return yamlBinary(n.Value)
	case "!!timestamp":
		return yamlTimestamp(n.Value)
	}
	return nil, undefined(n)
}

func yamlInt(text string) (any, error) {
	digits := strings.ReplaceAll(text, "_", "")
	sign, digits := cutSign(digits)
	switch {
	case digits == "":
		return nil, fmt.Errorf("bad int %.40q", text)
	case len(digits) > pyjson.MaxIntDigits:
		return nil, errors.New(pyjson.TooManyDigits(len(digits)))
	}
	total, base := new(big.Int), 10
	switch {
	case strings.HasPrefix(digits, "0b"):
		digits, base = digits[2:], 2
	case strings.HasPrefix(digits, "0x"):
		digits, base = digits[2:], 16
	case digits[0] == '0' && digits != "0":
		digits, base = strings.TrimPrefix(digits[1:], "o"), 8
		if digits == "" {
			digits = "0"
		}
	}
	for part := range strings.SplitSeq(digits, ":") { // sexagesimal where there is one
		n, ok := new(big.Int).SetString(part, base)
		if !ok || part[0] == '+' || part[0] == '-' {
			return nil, fmt.Errorf("bad int %.40q", text)
		}
		total.Add(total.Mul(total, big.NewInt(60)), n)
	}
	if sign < 0 {
		total.Neg(total)
	}
	if total.IsInt64() {
		return total.Int64(), nil
	}
	return total, nil
}

func cutSign(text string) (sign int, rest string) {
	switch {
	case strings.HasPrefix(text, "-"):
		return -1, text[1:]
	case strings.HasPrefix(text, "+"):
		return 1, text[1:]
	}
	return 1, text
}

func yamlFloat(text string) (any, error) {
	digits := strings.ToLower(strings.ReplaceAll(text, "_", ""))
	sign, digits := cutSign(digits)
	switch digits {
	case ".inf":
		return math.Inf(sign), nil
	case ".nan":
		return math.NaN(), nil
	}
	total, base := 0.0, 1.0
	parts := strings.Split(digits, ":")
	for i := len(parts) - 1; i >= 0; i-- { // in PyYAML's order, for the same rounding
		f, err := strconv.ParseFloat(parts[i], 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) || strings.ContainsAny(parts[i], "xp") {
			return nil, fmt.Errorf("bad float %.40q", text)
		}
		total += f * base
		base *= 60
	}
	return float64(sign) * total, nil
}

// yamlBinary is as lenient as Python's base64.decodebytes: it passes over what does
// not belong to the alphabet.
func yamlBinary(text string) (any, error) {
	kept := strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/', c == '=':
			return c
		}
		return -1
	}, text)
	b, err := base64.StdEncoding.DecodeString(kept)
	if err != nil {
		return nil, fmt.Errorf("failed to decode base64 data: %w", err)
	}
	return b, nil
}

var timestampParts = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})` +
		`(?:\.([0-9]*))?(?:[ \t]*(Z|([-+])([0-9]{1,2})(?::([0-9]{2}))?))?)?$`)
})

func yamlTimestamp(text string) (any, error) {
	m := timestampParts().FindStringSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("bad timestamp %.40q", text)
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(m[i]) // digits, or nothing
		return n
	}
	loc := pyjson.Naive
	switch {
	case m[9] != "":
		offset := number(10)*3600 + number(11)*60
		if offset >= 86400 {
			return nil, fmt.Errorf("bad timestamp %.40q", text)
		}
		if m[9] == "-" {
			offset = -offset
		}
		loc = time.FixedZone("", offset)
	case m[8] != "":
		loc = time.UTC
	}
	micro, _ := strconv.Atoi((m[7] + "000000")[:6]) // digits
	t := time.Date(number(1), time.Month(number(2)), number(3), number(4), number(5), number(6), micro*1000, loc)
	if number(1) == 0 || int(t.Month()) != number(2) || t.Day() != number(3) || number(4) > 23 || number(5) > 59 || number(6) > 59 {
		return nil, fmt.Errorf("bad timestamp %.40q", text)
	}
	if m[4] == "" {
		return pyjson.Date{Year: number(1), Month: time.Month(number(2)), Day: number(3)}, nil
	}
	return t, nil
}
