package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// Sequences of the terminal.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l" // the alternate one, without a cursor; lines that are too long are cut
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	topLeft     = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
	plainText   = "\x1b[0m"
)

// screen is a terminal that shows pictures, and tells keys.
type screen struct {
	in, out *os.File
	before  *term.State
	left    sync.Once
	shown   string // the last picture
}

// openScreen takes a terminal; whoever has it gives it back with leave.
func (p *program) openScreen() (*screen, error) {
	in, _ := p.stdin.(*os.File)
	out, _ := p.stdout.(*os.File)
	if in == nil || out == nil {
		return nil, errors.New("not a terminal: use --dump")
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("terminal: %w; --dump needs none", err)
	}
	fmt.Fprint(out, enterScreen)
	return &screen{in: in, out: out, before: before}, nil
}

// leave gives the terminal back as it was. It may be called again.
func (s *screen) leave() {
	s.left.Do(func() {
		fmt.Fprint(s.out, plainText+leaveScreen)
		_ = term.Restore(int(s.in.Fd()), s.before)
	})
}

// leaveOnPanic is deferred by what others call while the screen is ours.
func (s *screen) leaveOnPanic() {
	if r := recover(); r != nil {
		s.leave()
		panic(r)
	}
}

// size is at least one column and one line.
func (s *screen) size() (width, height int) {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// draw shows lines, which have no sequences but those of colors.
func (s *screen) draw(lines []string) {
	picture := topLeft + strings.Join(lines, clearLine+"\r\n") + clearLine + clearBelow
	if picture != s.shown {
		s.shown = picture
		_, _ = io.WriteString(s.out, picture)
	}
}

// Names of keys that are no characters.
const (
	keyUp, keyDown, keyPageUp, keyPageDown, keyHome, keyEnd = "up", "down", "page up", "page down", "home", "end"
	keyEnter, keyEscape, keyBackspace, keyInterrupt         = "enter", "escape", "backspace", "interrupt"
)

var keySequences = []struct{ sequence, key string }{
	{"\x1b[A", keyUp},
	{"\x1bOA", keyUp},
	{"\x1b[B", keyDown},
	{"\x1bOB", keyDown},
	{"\x1b[5~", keyPageUp},
	{"\x1b[6~", keyPageDown},
	{"\x1b[H", keyHome},
	{"\x1bOH", keyHome},
	{"\x1b[1~", keyHome},
	{"\x1b[F", keyEnd},
	{"\x1bOF", keyEnd},
	{"\x1b[4~", keyEnd},
	{"\r", keyEnter},
	{"\n", keyEnter},
	{"\x7f", keyBackspace},
	{"\b", keyBackspace},
	{"\x03", keyInterrupt},
}

// readKeys sends the keys that are pressed until there are no more.
func readKeys(in io.Reader, keys chan<- string) {
	defer close(keys)
	buffer := make([]byte, 256)
	for {
		n, err := in.Read(buffer)
		for _, key := range splitKeys(string(buffer[:n])) {
			keys <- key
		}
		if err != nil {
			return
		}
	}
}

// splitKeys names the keys of what a terminal sends at once. Sequences of others come to nothing.
func splitKeys(typed string) (keys []string) {
next:
	for typed != "" {
		for _, known := range keySequences {
			if rest, ok := strings.CutPrefix(typed, known.sequence); ok {
				keys, typed = append(keys, known.key), rest
				continue next
			}
		}
		switch {
		case typed == "\x1b":
			return append(keys, keyEscape)
		case typed[0] == '\x1b': // of a key that has no name here
			end := strings.IndexFunc(typed[1:], func(r rune) bool { return r >= '@' && r != '[' && r != 'O' })
			if end < 0 {
				return keys
			}
			typed = typed[end+2:]
			continue
		}
		r := []rune(typed)[0]
		if r >= ' ' {
			keys = append(keys, string(r))
		}
		typed = typed[len(string(r)):]
	}
	return keys
}
