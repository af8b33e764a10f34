// Package simulation runs several whole workers, the real scripts, a Redis and a RabbitMQ in memory in one
// process, with virtual time and a network whose seed decides in what order things happen and what
// fails: connections are cut, nodes are cut off or stand still, workers die, at every step.
//
// A seed decides what is done to whom, not all of the rest: Go's runtime draws the order of timers that end at the same moment, which of
// several cases a select takes, and how maps are gone through, and workers draw how long they wait between attempts. So a seed that fails
// shows at once what was done and what was logged, and does not always fail again. This tries it a hundred times:
//
//	go test ./internal/simulation -run TestSimulation -seed 4711 -count 100 -failfast
package simulation
