// Package client sends tasks as a Celery producer does and reads their results. Python
// workers and Python clients cannot tell what it sends from Celery's own.
//
// Package app makes a Client that is connected to Redis, out of Celery's settings.
//
// Package canvas builds what is sent: single calls, chains, groups, chords. Inside of a
// task use tasks.Send instead: what a Client sends belongs to no task.
package client
