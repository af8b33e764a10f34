package schedule

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A field is one of a crontab's five, as crontab_parser of celery.schedules reads it.
type field struct {
	name     string
	min, max int
}

var (
	minuteField      = field{"minute", 0, 59}
	hourField        = field{"hour", 0, 23}
	dayOfWeekField   = field{"day_of_week", 0, 6}
	dayOfMonthField  = field{"day_of_month", 1, 31}
	monthOfYearField = field{"month_of_year", 1, 12}
)

// set is a set of small numbers.
type set uint64

func (s set) has(n int) bool { return s&(1<<n) != 0 }

// from is the first member that is not less than n, and 64 if there is none.
func (s set) from(n int) int { return bits.TrailingZeros64(uint64(s) >> n << n) }

// parse reads a field: parts joined with commas, each *, */n, a, a-b or a-b/n.
func (f field) parse(text string) (set, error) {
	var all set
	for part := range strings.SplitSeq(text, ",") {
		members, err := f.part(part)
		if err != nil {
			where := ""
			if part != text && part != "" {
				where = fmt.Sprintf(", part %q", part)
			}
			return 0, fmt.Errorf("%s %q%s: %w", f.name, text, where, err)
		}
		all |= members
	}
	return all, nil
}

// part reads a part. Like Celery, it does not look at what follows a complete range or step.
func (f field) part(part string) (set, error) {
	if part == "" {
		return 0, errors.New("there is nothing between two commas; * is for all")
	}
	if part == "*" || part == "*\n" {
		return f.span(f.min, f.max, 1), nil
	}
	if step, ok := strings.CutPrefix(part, "*/"); ok {
		return f.stepped(f.min, f.max, step)
	}
	first, rest := word(part)
	if first != "" && strings.HasPrefix(rest, "-") {
		if last, rest := word(rest[1:]); last != "" {
			return f.between(first, last, rest)
		}
	}
	n, err := f.number(part)
	if err != nil {
		return 0, err
	}
	return f.span(n, n, 1), nil
}

func (f field) between(first, last, rest string) (set, error) {
	from, err := f.number(first)
	if err != nil {
		return 0, err
	}
	to, err := f.number(last)
	if err != nil {
		return 0, err
	}
	if step, ok := strings.CutPrefix(rest, "/"); ok {
		return f.stepped(from, to, step)
	}
	return f.span(from, to, 1), nil
}

func (f field) stepped(from, to int, text string) (set, error) {
	text, _ = word(text)
	if text == "" {
		return 0, errors.New("there is no number after /")
	}
	step, ok := integer(text)
	if !ok {
		return 0, fmt.Errorf("the step %q is not a number", text)
	}
	if step == 0 {
		return 0, errors.New("a step of 0 leads nowhere")
	}
	return f.span(from, to, step), nil
}

// span is every step-th number from one to another, beyond the highest if need be.
func (f field) span(from, to, step int) set {
	size := f.max - f.min + 1
	if to < from {
		to += size
	}
	var s set
	for n := from; n <= to; n += step {
		s |= 1 << ((n-f.min)%size + f.min)
	}
	return s
}

// number reads a number or a name. Names of months come before those of weekdays, in all fields.
func (f field) number(text string) (int, error) {
	if strings.HasPrefix(text, "-") {
		return 0, errors.New("a number cannot be negative")
	}
	n, ok := integer(text)
	if !ok {
		if n, ok = named(text); !ok {
			return 0, f.unreadable(text)
		}
	}
	if n < f.min || n > f.max {
		hint := ""
		if n == 7 && f == dayOfWeekField {
			hint = "; Sunday is 0"
		}
		return 0, fmt.Errorf("%d is not between %d and %d%s", n, f.min, f.max, hint)
	}
	return n, nil
}

func (f field) unreadable(text string) error {
	err := fmt.Errorf("%q is not a number, a range as 1-5 or 1-5/2, * or */2, or a name as mon or jan", text)
	if first, step, ok := strings.Cut(text, "/"); ok {
		if n, ok := integer(first); ok {
			err = fmt.Errorf("a step needs a range before it: %d-%d/%s", n, f.max, step)
		}
	}
	return err
}

var (
	months   = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

// named is the number of a month or weekday, of whose name only the first three letters count.
func named(text string) (int, bool) {
	end := 0
	for range 3 {
		_, size := utf8.DecodeRuneInString(text[end:])
		end += size
	}
	abbreviation := strings.ToLower(text[:end])
	for i, month := range months {
		if abbreviation == month {
			return i + 1, true
		}
	}
	for i, weekday := range weekdays {
		if abbreviation == weekday {
			return i, true
		}
	}
	return 0, false
}

// word splits what \w+ of Python's regular expressions matches off the beginning.
func word(text string) (first, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r)
	})
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// integer reads a number as Python's int does, with blanks around it, a sign, digits of any script and single
// underscores between them. Numbers beyond all fields are as good as 1,000.
func integer(text string) (n int, ok bool) {
	text = strings.TrimFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f })
	sign := 1
	if rest, found := strings.CutPrefix(text, "-"); found {
		sign, text = -1, rest
	} else {
		text = strings.TrimPrefix(text, "+")
	}
	for _, r := range text {
		if r == '_' {
			if !ok {
				return 0, false
			}
			ok = false
			continue
		}
		digit, isDigit := digitOf(r)
		if !isDigit {
			return 0, false
		}
		n, ok = min(n*10+digit, 1000), true
	}
	return sign * n, ok
}

// digitOf is the value of a decimal digit: each script has its ten in a row.
func digitOf(r rune) (int, bool) {
	if r >= '0' && r <= '9' {
		return int(r - '0'), true
	}
	for _, digits := range unicode.Nd.R16 {
		if r >= rune(digits.Lo) && r <= rune(digits.Hi) {
			return int(r-rune(digits.Lo)) % 10, true
		}
	}
	for _, digits := range unicode.Nd.R32 {
		if r >= rune(digits.Lo) && r <= rune(digits.Hi) {
			return int(r-rune(digits.Lo)) % 10, true
		}
	}
	return 0, false
}
