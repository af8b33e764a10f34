// Package terminaltest runs programs on a terminal, for tests of what people see there and type.
package terminaltest

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Screen is what a terminal shows after all that was written to it: so much of a VT100 as shells
// and our own pictures need. A character takes one column.
type Screen struct {
	width, height int
	cells         [][]cell
	main          [][]cell // while the alternate screen is shown
	row, column   int
	wrapped       bool // the last column was written, and the next character goes to the next line
	noWrap        bool
	reverse       bool
	hidden        bool // the cursor
	pending       []byte
}

type cell struct {
	r       rune
	reverse bool
}

// NewScreen returns an empty screen.
func NewScreen(width, height int) *Screen {
	s := &Screen{width: width, height: height}
	s.cells = s.blank()
	return s
}

func (s *Screen) blank() [][]cell {
	rows := make([][]cell, s.height)
	for i := range rows {
		rows[i] = make([]cell, s.width)
	}
	return rows
}

// Resize gives the screen another size, and leaves at their places what fits.
func (s *Screen) Resize(width, height int) {
	s.width, s.height = width, height
	resized := func(old [][]cell) [][]cell {
		rows := s.blank()
		for i := range min(len(old), height) {
			copy(rows[i], old[i])
		}
		return rows
	}
	s.cells = resized(s.cells)
	if s.main != nil {
		s.main = resized(s.main)
	}
	s.row, s.column, s.wrapped = min(s.row, height-1), min(s.column, width-1), false
}

// Alternate says whether the alternate screen is shown.
func (s *Screen) Alternate() bool { return s.main != nil }

// CursorHidden says whether the cursor is not shown.
func (s *Screen) CursorHidden() bool { return s.hidden }

// Wraps says whether long lines go on in the next one.
func (s *Screen) Wraps() bool { return !s.noWrap }

// String returns the lines, without blanks behind them.
func (s *Screen) String() string { return s.text(func(cell) bool { return true }) }

// Reversed returns what is shown in reverse, such as what is selected.
func (s *Screen) Reversed() string {
	return strings.Trim(s.text(func(c cell) bool { return c.reverse }), "\n")
}

func (s *Screen) text(shown func(cell) bool) string {
	var b strings.Builder
	for _, row := range s.cells {
		var line strings.Builder
		for _, c := range row {
			if c.r == 0 || !shown(c) {
				c.r = ' '
			}
			line.WriteRune(c.r)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// Write shows what a program writes.
func (s *Screen) Write(p []byte) (int, error) {
	s.pending = append(s.pending, p...)
	for len(s.pending) > 0 {
		n := s.next(s.pending)
		if n == 0 {
			break
		}
		s.pending = s.pending[n:]
	}
	return len(p), nil
}

// next shows one character, or obeys one sequence, and returns its length; 0: there is more to come.
func (s *Screen) next(p []byte) int {
	switch p[0] {
	case 0x1b:
		return s.escape(p)
	case '\r':
		s.column, s.wrapped = 0, false
	case '\n':
		s.lineFeed()
	case '\b':
		s.column, s.wrapped = max(0, s.column-1), false
	case '\t':
		s.column = min(s.width-1, s.column/8*8+8)
	default:
		if p[0] < ' ' {
			return 1
		}
		if !utf8.FullRune(p) {
			return 0
		}
		r, size := utf8.DecodeRune(p)
		s.put(r)
		return size
	}
	return 1
}

func (s *Screen) put(r rune) {
	if s.wrapped {
		s.column, s.wrapped = 0, false
		s.lineFeed()
	}
	s.cells[s.row][s.column] = cell{r, s.reverse}
	if s.column < s.width-1 {
		s.column++
	} else {
		s.wrapped = !s.noWrap
	}
}

func (s *Screen) lineFeed() {
	if s.row < s.height-1 {
		s.row++
		return
	}
	s.cells = append(s.cells[1:], make([]cell, s.width))
}

func (s *Screen) escape(p []byte) int {
	if len(p) < 2 {
		return 0
	}
	switch p[1] {
	case '[':
		for i := 2; i < len(p); i++ {
			if p[i] >= '@' && p[i] <= '~' {
				s.control(string(p[2:i]), p[i])
				return i + 1
			}
		}
		return 0
	case ']': // a title, until BEL or ESC \
		for i := 2; i < len(p); i++ {
			if p[i] == 7 {
				return i + 1
			}
			if p[i] == '\\' && p[i-1] == 0x1b {
				return i + 1
			}
		}
		return 0
	case '(', ')':
		if len(p) < 3 {
			return 0
		}
		return 3
	}
	return 2
}

func (s *Screen) control(parameters string, final byte) {
	var numbers []int
	for _, text := range strings.Split(strings.TrimLeft(parameters, "?>="), ";") {
		n, _ := strconv.Atoi(text)
		numbers = append(numbers, n)
	}
	first := numbers[0]
	if strings.HasPrefix(parameters, "?") {
		s.mode(first, final == 'h')
		return
	}
	switch final {
	case 'A':
		s.row = max(0, s.row-max(1, first))
	case 'B':
		s.row = min(s.height-1, s.row+max(1, first))
	case 'C':
		s.column = min(s.width-1, s.column+max(1, first))
	case 'D':
		s.column = max(0, s.column-max(1, first))
	case 'G':
		s.column = min(s.width-1, max(1, first)-1)
	case 'H':
		s.row, s.column = min(s.height-1, max(1, first)-1), 0
		if len(numbers) > 1 {
			s.column = min(s.width-1, max(1, numbers[1])-1)
		}
	case 'J':
		s.eraseLines(first)
	case 'K':
		s.eraseLine(first)
	case 'm':
		for _, n := range numbers {
			switch n {
			case 0, 27:
				s.reverse = false
			case 7:
				s.reverse = true
			}
		}
		return
	}
	s.wrapped = false
}

func (s *Screen) mode(number int, on bool) {
	switch number {
	case 7:
		s.noWrap = !on
	case 25:
		s.hidden = !on
	case 1049:
		switch {
		case on && s.main == nil:
			s.main, s.cells = s.cells, s.blank()
		case !on && s.main != nil:
			s.cells, s.main = s.main, nil
		}
	}
}

func (s *Screen) eraseLine(how int) {
	from, to := s.column, s.width
	if how > 0 {
		from = 0
	}
	if how == 1 {
		to = s.column + 1
	}
	clear(s.cells[s.row][from:to])
}

func (s *Screen) eraseLines(how int) {
	if how > 0 {
		s.cells = s.blank()
		return
	}
	s.eraseLine(0)
	for _, row := range s.cells[s.row+1:] {
		clear(row)
	}
}
