// Package redbeat reads and writes the keys of celery-redbeat, so that a beat here and
// `celery beat -S redbeat.RedBeatScheduler` can take each other's place, and share its lock.
package redbeat
