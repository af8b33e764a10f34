package tasks

// Options are the settings of one task. A nil field leaves the decision to the
// worker's configuration.
type Options struct {
	AcksLate                 *bool
	IgnoreResult             *bool
	TrackStarted             *bool
	StoreErrorsEvenIfIgnored *bool

	params *string
}

// Option is a setting given to Registry.Register. The names are those of Celery's
// task options.
type Option func(*Options)

// Params gives a function the parameter list of the Python task it stands for:
//
//	tasks.Params("x, y, z=None, *args, **kwargs")
//
// Paste it from the def. Arguments are then bound by Python's rules, by position or
// by name, and wrong calls fail with Python's own TypeError. Positional-only (/) and
// keyword-only (*) parameters are understood, annotations are ignored, and defaults
// must be literals.
//
// Each parameter binds to the function's parameter at the same place, after a
// leading context. *args binds to a slice or to the variadic parameter (which stands
// last in Go), **kwargs to a map with string keys.
//
// For a gocelery task it names the arguments that come by position.
func Params(pythonSignature string) Option {
	return func(o *Options) { o.params = &pythonSignature }
}

// AcksLate says whether the message is acknowledged after the task has run, not
// when it starts.
func AcksLate(late bool) Option { return func(o *Options) { o.AcksLate = &late } }

// IgnoreResult says whether to drop the task's result and states.
func IgnoreResult(ignore bool) Option { return func(o *Options) { o.IgnoreResult = &ignore } }

// TrackStarted says whether the state STARTED is stored when the task begins.
func TrackStarted(track bool) Option { return func(o *Options) { o.TrackStarted = &track } }

// StoreErrorsEvenIfIgnored says whether failures are stored although results are ignored.
func StoreErrorsEvenIfIgnored(store bool) Option {
	return func(o *Options) { o.StoreErrorsEvenIfIgnored = &store }
}
