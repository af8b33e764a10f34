package settings

import (
	"reflect"
	"slices"
	"sync"
)

// Resolve returns what the settings come to: a copy that is complete, checked, and has
// Warnings, as Load returns it for a file with the same values. What was assigned in Go since
// Default or Load counts as given, under Celery's name for it; app calls Resolve on what it is
// given. An error is an *Error that lists every problem.
//
// Only a file can say that it gives a default: assigning what is there already gives nothing.
func (s *Settings) Resolve() (*Settings, error) {
	resolved := s.resolved
	if resolved == nil {
		resolved = defaults()
	}
	l := loader{given: map[*entry]given{}}
	l.inPython = s.inPython
	all := entries()
	for i := range all {
		e := &all[i]
		if g, ok := s.given[e.name]; ok {
			l.given[e] = g
		}
		if e.field == nil {
			continue
		}
		if value := document(e, s); !reflect.DeepEqual(value, resolved[e.name]) {
			l.given[e] = given{value, Origin{Key: e.name}}
		}
	}
	l.warnings = s.unread
	r, err := l.settings()
	if err != nil {
		return nil, err
	}
	r.takeInexpressible(s)
	for _, warning := range s.Warnings {
		if !slices.Contains(s.warned, warning) {
			r.Warnings = append(r.Warnings, warning)
		}
	}
	return r, nil
}

// settings turns what was given into settings. What is wrong by now was not read.
func (l *loader) settings() (*Settings, error) {
	unread := slices.Clip(l.warnings)
	s := l.decode()
	s.check(&l.decoder)
	if len(l.problems) > 0 {
		return nil, &Error{Problems: l.problems}
	}
	s.Warnings, s.warned, s.unread = l.warnings, slices.Clone(l.warnings), unread
	s.resolved = documents(s)
	s.inPython = l.inPython
	return s, nil
}

// takeInexpressible copies what no file can say.
func (s *Settings) takeInexpressible(from *Settings) {
	for _, o := range []struct{ to, from *ConnectionOptions }{
		{&s.BrokerTransportOptions.ConnectionOptions, &from.BrokerTransportOptions.ConnectionOptions},
		{&s.ResultBackendTransportOptions.ConnectionOptions, &from.ResultBackendTransportOptions.ConnectionOptions},
		{&s.RedBeatRedisOptions, &from.RedBeatRedisOptions},
	} {
		o.to.Dial = o.from.Dial
		if o.from.SocketTimeout < 0 { // none
			o.to.SocketTimeout = o.from.SocketTimeout
		}
		if o.from.HealthCheckInterval < 0 {
			o.to.HealthCheckInterval = o.from.HealthCheckInterval
		}
	}
	for _, tls := range []struct{ to, from *TLS }{{s.BrokerUseSSL, from.BrokerUseSSL}, {s.RedisBackendUseSSL, from.RedisBackendUseSSL}, {s.RedBeatRedisUseSSL, from.RedBeatRedisUseSSL}} {
		if tls.from != nil {
			tls.to.Config = tls.from.Config
		}
	}
}

// document is the value of a setting as a file has it.
func document(e *entry, s *Settings) any {
	value := encode(e.field(s))
	if value == (absent{}) {
		return nil
	}
	return value
}

func documents(s *Settings) map[string]any {
	values := map[string]any{}
	for _, e := range entries() {
		if e.field != nil {
			values[e.name] = document(&e, s)
		}
	}
	return values
}

// defaults are the values of the defaults.
var defaults = sync.OnceValue(func() map[string]any { return documents(Default()) })
