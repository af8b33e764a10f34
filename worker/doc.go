// Package worker runs Celery tasks: it claims messages from a broker, runs their
// handlers and settles them, in Celery's order and with Celery's guarantees.
//
// The way of a message, each step in the file of its name:
//
//	intake     claim as many messages as there is room for; read the headers (large: elsewhere)
//	gate       unknown, expired, not yet due, or to be run?
//	schedule   wait for the ETA; timetable: in memory; parking: kept by the broker
//	limits     wait for the task's turn
//	unknown    answer for a task that is not registered; handover: give it to others
//	backlog    wait for a slot of the task's executor; pace: how much may wait
//	surplus    goes back, if it waits too long
//	earlyack   acknowledge early what is about to start
//	lease      make sure that it is still ours, if it is acknowledged late
//	execute    run it in a slot of the executor
//	outcomes   work out what came of it; answers: tell log and hooks of it
//	settler    publish, store the result, acknowledge, in groups; conclude: along with what follows
//
// # Goroutines
//
//	goroutine    how many      owns                        ends
//	Run          the caller's  the order of start and stop when all others have
//	intake       in Run        seq; the calls of Claim     when ctx is done
//	large        1             nothing                     when intake has ended
//	timetable    2             the timers of the next ETA  when intake has ended
//	                           and of what is kept
//	unpark       1             the calls of Due            when intake has ended
//	returnSurplus 1 a pool     nothing                     when intake has ended
//	autoscaler   1 a pool, if wanted  the number of slots  when intake has ended
//	acknowledgeEarly 1 a pool  the calls of Ack for early  when the backlog is closed
//	slot         Concurrency   the request it runs         when the backlog is closed
//	settler.run  1             Ack and Store calls         when the settler is closed and all is written
//	leases       1             nothing                     last, with the settle context
//
// A pool is an executor (goroutines for Go handlers, and those of Config.Executors) with its
// slots and its backlog. Senders stop before receivers: intake and schedule feed the backlog, slots feed
// the settler, and each is waited for before what it feeds is closed.
//
// # Contexts
//
// Three contexts keep the phases apart. Run's context ends claiming. The task context
// is the parent of every handler's: it ends after the shutdown timeout or at Abort,
// with the cause tasks.ErrShutdown. The settle context ends last, so that what has run is
// stored and acknowledged even though the others are over.
//
// # What a message can count on
//
// From its claim on, a message is in the broker's unacked store until it is
// acknowledged: before its handler runs (early, Celery's default) or after its result
// is confirmed (late). An early acknowledgement is confirmed before the handler starts:
// such a task never starts twice. One that is acknowledged late starts only while nobody
// can have taken the worker for dead; what follows from it is published in the step in which
// it is acknowledged. Settling is repeated until it succeeds. A message
// whose lease was lost is not acknowledged, its handler's context is cancelled with
// ErrLeaseLost, and of its outcomes only a success is stored.
package worker
