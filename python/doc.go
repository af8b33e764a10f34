// Package python runs the tasks of a Celery app in Python processes, as an executor of package
// worker: what Celery's prefork pool is to its MainProcess.
//
// One process, the fork server, imports the app as `celery -A app worker` does up to the start
// of its blueprint, tells what it has found (the [Manifest]) and forks a child for every
// place in which a task may run. The children run Celery's own tracer. All that Python runs here
// and that is not the app's or Celery's is in driver/, which is part of the program.
//
// Two kinds of sockets connect them. The fork server's carries a JSON object per line in both
// directions; a child's end of its socket travels with the order to fork it. A child's carries
// frames, in both directions:
//
//	4 bytes  length of all that follows, big endian, as all numbers here
//	8 bytes  number of the job; 0: none
//	4 bytes  length of the head
//	         the head: a JSON object
//	         the body
//
// To the child, the head is what a message says about its body, which is passed on as it is,
// in whatever serializer. From the child, the head says what has become of the job, and the body
// is the record of the result, if the worker is to store it.
//
// In the pools solo, threads, gevent and eventlet there is one child that all slots share: it is what
// Celery's MainProcess is there, and Celery's own pool runs the tasks in it. With the start method
// spawn the fork server forks nothing: it starts new processes that load the app themselves.
//
// When this process ends, in whatever way, all of them end.
package python
