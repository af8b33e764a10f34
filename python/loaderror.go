package python

// LoadError says why an app cannot be loaded.
type LoadError struct {
	App       string
	Type      string // of the exception: ModuleNotFoundError; "": there was none
	Text      string // what Celery says, with the traceback if the app's code has failed
	Traceback string // Python's
	HasCelery bool   // the Python has a Celery, and has begun to load the app
	Usage     bool   // it is loaded, and something is wrong with UserOptions
}

// Error is Celery's text for its command line, but that of a Python which has no Celery.
func (e *LoadError) Error() string {
	if !e.HasCelery || e.Usage {
		return e.Text
	}
	return "Unable to load celery application.\n" + e.Text
}

// complaint is what the driver says of an app that cannot be loaded.
type complaint struct {
	Error     string `json:"error"`
	Type      string `json:"type"`
	Traceback string `json:"traceback"`
	NoCelery  bool   `json:"no_celery"`
	Usage     bool   `json:"usage"`
}

func (c *complaint) loadError(opts *Options) *LoadError {
	text := c.Error
	if c.NoCelery {
		text = "there is no Celery in " + opts.Interpreter + ", " + opts.which
	}
	return &LoadError{App: opts.App, Type: c.Type, Text: text, Traceback: c.Traceback, HasCelery: !c.NoCelery, Usage: c.Usage}
}

// endedEarly is for a process that has ended without a word: whatever it had to say is on its stderr.
// If a signal has ended it, it is not to blame that it is this Python.
func (o *Options) endedEarly(code int) *LoadError {
	return &LoadError{
		App: o.App, Text: o.Interpreter + ", " + o.which + ", ended before it had loaded the app: " + statusText(code), HasCelery: code < 0,
	}
}
