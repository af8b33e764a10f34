// Package settings reads Celery's settings from a file (TOML, YAML or JSON), from
// the environment and from the command line, under the names Celery has or had.
//
// Every setting of Celery is one of three: honoured, and then it has a field of
// [Settings]; without effect in Go, and then a warning says why when it was given
// another value than its default; or refused, because going on without it would be
// dangerous. The table_*.go files say which is which. What is unknown, contradictory
// or of a wrong type is reported all at once, with where it stands.
//
// scripts/export_settings.py writes the settings of a Python app in this form.
//
// In Go, the fields of [Default] are assigned; [Settings.Resolve] reads them as if they stood
// in a file.
package settings
