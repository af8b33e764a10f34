package pyjson

// Valid returns nil if data is one JSON value that Python's json.loads
// accepts, with white space around it or not, nested at most 1000 levels deep;
// else a [*SyntaxError]. It does not look into __type__ objects: see
// [CheckTypes].
func Valid(data []byte) error {
	s := NewScanner(data)
	s.Value()
	return s.End()
}

// A Scanner walks through a JSON text once, from left to right, without
// allocating; what it returns are parts of the text.
//
//	s := pyjson.NewScanner(data)
//	s.Enter('{')
//	for s.Next() {
//		switch string(s.Key()) {
//		case "id":
//			id, isString = s.Text()
//		case "headers":
//			if s.Enter('{') {
//				for s.Next() {
//					…
//				}
//			}
//		}
//	}
//	if err := s.End(); err != nil {
//
// Values that are not asked for are checked and passed over. Of a key that
// comes twice, the last counts in Python: the caller sees both, in order.
type Scanner struct {
	data    []byte
	pos     int
	err     error
	nest    nesting
	ahead   bool // a value is due at pos and has not been taken
	first   bool // the innermost container has just been entered
	keyFrom int  // of the current member's key, with its quotes
	keyTo   int
	keyRaw  bool // the key is its own value

	survey *survey // of KombuValue
}

// NewScanner returns a Scanner before the first value of data.
func NewScanner(data []byte) Scanner {
	return Scanner{data: data, pos: skipSpace(data, 0), ahead: true}
}

// Kind returns the [Kind] of the value ahead, 0 if there is none.
func (s *Scanner) Kind() byte {
	if !s.ahead || s.pos >= len(s.data) {
		return 0
	}
	return kindOf[s.data[s.pos]]
}

// Offset returns the place in the text reached: before a value that has not
// been taken, else right behind what was taken last.
func (s *Scanner) Offset() int { return s.pos }

// Enter steps into the object or array ahead, which open, '{' or '[', tells.
// It returns false and takes nothing if the value ahead is of another kind. The
// loop over Next must then be left out: Next would go on behind that value, in
// the container around it.
func (s *Scanner) Enter(open byte) bool {
	if s.Kind() != open || s.err != nil {
		return false
	}
	if !s.nest.push(open == '{') {
		s.fail(s.pos, "too deeply nested")
		return false
	}
	s.pos++
	s.ahead, s.first = false, true
	return true
}

// Next moves to the next member or element of the innermost container entered.
// At its end it leaves the container and returns false, as it does after an
// error and when no container has been entered.
func (s *Scanner) Next() bool {
	if s.ahead {
		s.Value()
	}
	if s.err != nil || s.nest.depth == 0 {
		return false
	}
	s.pos = skipSpace(s.data, s.pos)
	isObject, first := s.nest.inObject(), s.first
	s.first = false
	if s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '}' && isObject, c == ']' && !isObject:
			s.pos++
			s.nest.depth--
			return false
		case c == ',' && !first:
			s.pos = skipSpace(s.data, s.pos+1)
			first = true
		}
	}
	if !first {
		s.fail(s.pos, "Expecting ',' delimiter")
		return false
	}
	if isObject {
		s.keyFrom = s.pos
		s.pos, s.keyRaw, s.err = skipKey(s.data, s.pos, &s.keyTo)
		if s.err != nil {
			return false
		}
	}
	s.ahead = true
	return true
}

// Key returns the current member's key with its escapes resolved; outside of
// an object it means nothing.
func (s *Scanner) Key() []byte {
	text := s.data[s.keyFrom:s.keyTo]
	if len(text) < 2 {
		return nil
	}
	text = text[1 : len(text)-1]
	if !s.keyRaw {
		return unescape(text)
	}
	return text
}

// Value takes the value ahead and returns its text, nil after an error.
func (s *Scanner) Value() []byte {
	if s.err != nil || !s.ahead {
		return nil
	}
	start := s.pos
	end, err := skipValue(s.data, start, s.nest.depth)
	if err != nil {
		s.err = err
		return nil
	}
	s.pos, s.ahead = end, false
	return s.data[start:end:end]
}

// Scalar takes the value ahead: what a string says, nothing for null, and the JSON text of
// anything else. Producers may put a number where a name is due, and Python does not look.
func (s *Scanner) Scalar() []byte {
	if text, ok := s.Text(); ok {
		return text
	}
	if s.Kind() == 'n' {
		s.Value()
		return nil
	}
	return s.Value()
}

// Text takes the string ahead and returns what it says, copying only if it
// has escapes or is not ASCII. It returns false and takes nothing if the value
// ahead is not a string.
func (s *Scanner) Text() ([]byte, bool) {
	if s.Kind() != '"' || s.err != nil {
		return nil, false
	}
	start := s.pos
	end, plain, err := skipString(s.data, start)
	if err != nil {
		s.err = err
		return nil, false
	}
	s.pos, s.ahead = end, false
	text := s.data[start+1 : end-1 : end-1]
	if !plain {
		text = unescape(text)
	}
	return text, true
}

// Err returns the first error met, a [*SyntaxError].
func (s *Scanner) Err() error { return s.err }

// End checks what is left of the text, to the end of the containers entered,
// that nothing but white space follows, and returns the first error met.
func (s *Scanner) End() error {
	if s.ahead {
		s.Value()
	}
	for s.err == nil && s.nest.depth > 0 {
		for s.Next() {
		}
	}
	if s.err == nil {
		if end := skipSpace(s.data, s.pos); end < len(s.data) {
			s.fail(end, "Extra data")
		}
	}
	return s.err
}

func (s *Scanner) fail(offset int, msg string) {
	s.err = newSyntaxError(s.data, offset, msg)
}

// nesting remembers for each open container whether it is an object.
type nesting struct {
	depth int
	bits  [maxDepth/64 + 1]uint64
}

func (n *nesting) push(object bool) bool {
	if n.depth >= maxDepth {
		return false
	}
	word, bit := n.depth/64, uint64(1)<<(n.depth%64)
	n.bits[word] &^= bit
	if object {
		n.bits[word] |= bit
	}
	n.depth++
	return true
}

func (n *nesting) inObject() bool {
	top := n.depth - 1
	return n.bits[top/64]&(1<<(top%64)) != 0
}

// skipValue passes over the value at i, which lies inside depth containers.
func skipValue(data []byte, i, depth int) (end int, err error) {
	if i >= len(data) || data[i] != '{' && data[i] != '[' {
		return skipScalar(data, i)
	}
	var nest nesting
	for {
		// A value is due.
		if i < len(data) && (data[i] == '{' || data[i] == '[') {
			object := data[i] == '{'
			if depth+nest.depth >= maxDepth || !nest.push(object) {
				return i, newSyntaxError(data, i, "too deeply nested")
			}
			i = skipSpace(data, i+1)
			if i == len(data) || data[i] != '}' && data[i] != ']' || (data[i] == '}') != object {
				if object {
					if i, _, err = skipKey(data, i, nil); err != nil {
						return i, err
					}
				}
				continue
			}
		} else if i, err = skipScalar(data, i); err != nil {
			return i, err
		} else {
			i = skipSpace(data, i)
		}
		// A value has ended, or its closing bracket is at i.
		for i < len(data) && (data[i] == '}' || data[i] == ']') && (data[i] == '}') == nest.inObject() {
			i++
			if nest.depth--; nest.depth == 0 {
				return i, nil
			}
			i = skipSpace(data, i)
		}
		if i == len(data) || data[i] != ',' {
			return i, newSyntaxError(data, i, "Expecting ',' delimiter")
		}
		i = skipSpace(data, i+1)
		if nest.inObject() {
			if i, _, err = skipKey(data, i, nil); err != nil {
				return i, err
			}
		}
	}
}

// skipKey passes over a member's key and colon up to its value. keyEnd, if not
// nil, gets the index behind the key.
func skipKey(data []byte, i int, keyEnd *int) (value int, plain bool, err error) {
	if i == len(data) || data[i] != '"' {
		return i, false, newSyntaxError(data, i, "Expecting property name enclosed in double quotes")
	}
	i, plain, err = skipString(data, i)
	if err != nil {
		return i, false, err
	}
	if keyEnd != nil {
		*keyEnd = i
	}
	i = skipSpace(data, i)
	if i == len(data) || data[i] != ':' {
		return i, false, newSyntaxError(data, i, "Expecting ':' delimiter")
	}
	return skipSpace(data, i+1), plain, nil
}
