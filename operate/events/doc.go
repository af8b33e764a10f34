// Package events sends Celery's monitoring events: what Flower, celery events and
// celery-exporter show of a worker and its tasks.
//
// A Dispatcher observes a worker and publishes what it sees on the exchange celeryev. Task
// events are collected for a moment and sent as one message, worker events by themselves.
// A slow or absent broker never slows a task: events wait in a bounded buffer, and what
// does not fit is dropped and counted.
//
// The documents are those of celery/events and celery/worker/{request,heartbeat}.py.
package events
