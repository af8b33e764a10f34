// Package metrics serves a worker's figures to Prometheus, and its health to whoever
// restarts it.
//
// Names, labels, help texts and buckets of everything called celery_* are those of
// celery-exporter 0.12, so that its published dashboards and alerts work unchanged;
// what only Apium knows is called apium_*. README.md lists both, and says where a
// worker's own figures differ from those an exporter gathers from events.
package metrics
