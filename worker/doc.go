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
//	aside      wait a moment for room in an executor that is full
//	surplus    goes back, if it waits too long
//	earlyack   acknowledge early what is about to start
//	lease      make sure that it is still ours, if it is acknowledged late
//	execute    run it in a slot of the executor
//	shadows    run a copy in Go, of what Python has run, to compare
//	outcomes   work out what came of it; answers: tell log and hooks of it
//	settler    publish, store the result, acknowledge, in groups; conclude: along with what follows
//
// # Goroutines
//
// Each by the function in which it spends its life; a test compares the table with the source
// and with a running worker.
//
//	goroutine                  how many         owns                            ends
//	Worker.Run                 the caller's     the order of start and stop     when all others have
//	intake.run                 in Worker.Run    seq; the calls of Claim         when ctx is done
//	shutdown.bound             1                the time until which is waited  after all others
//	shutdown.onCold            1                nothing                         when intake has ended
//	large.run                  1 or 2           the calls of decode for these   when intake has ended
//	timetable.run              2                the timer of what is due next   when intake has ended
//	schedule.unpark            1                the calls of Due                when intake has ended
//	pool.returnSurplus         1 a pool         nothing                         when intake has ended
//	autoscaler.run             1 if it scales   the number of slots             when intake has ended
//	pool.acknowledgeEarly      1 a pool         the calls of Ack for early      when the backlog is closed
//	slots.run                  1 a slot         the request it runs             when the backlog is closed
//	settler.run                1                the calls that write for tasks  when the settler is closed and all is written
//	lane.run                   1                what a broker is to confirm         after settler.run
//	leases.run                 1                the calls of Extend             after the settler, with the settle context
//	settler.finish             now and then     a settlement that takes longer  when that is settled
//	parking.recallRevoked      now and then     nothing                         when what was revoked is recalled
//	intake.claim               now and then     nothing                         with a claim while a pool is full
//	shadows.run                now and then     a copy of a message             when its handler returns
//	callApart                  now and then     a call that is no task          when that returns
//	Worker.giveBackUnstarted   at the end       what has not started            when that is given back
//	waited                     at the end       nothing                         when no handler runs
//	limiter.releaseLocked      a timer          nothing                         at once
//	pool.softLimit             a timer          nothing                         at once
//	pool.hardLimit             a timer          nothing                         at once
//	pool.terminate             a timer          nothing                         at once
//
// A second large has the bodies that an executor reads, if one does. Of timetables, one keeps
// what waits for its ETA and one what others shall have. A pool is an executor (goroutines for
// Go handlers, and those of Config.Executors) with its slots and its backlog. Senders stop before receivers: intake and schedule feed the backlog, slots feed
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
