// Package scripts holds those scripts that the program runs itself.
package scripts

import _ "embed"

// ExportSettings is export_settings.py: its class Exporter writes down the settings of a Celery app.
//
//go:embed export_settings.py
var ExportSettings string
