// Package beat sends periodic tasks, as `celery beat` does: the same messages, at the same times.
// Any number of beats may run at the same time: each run of an entry has a slot, the time it was due, and
// a slot is taken and its message published in one step where the broker can.
//
// Entries come from a [Source]: the setting beat_schedule, a database, RedBeat's keys. Schedules are in
// package schedule.
package beat
