// Package simulation runs several whole workers, the real scripts and a Redis in memory in one
// process, with virtual time and a network whose seed decides in what order things happen and what
// fails: connections are cut, nodes are cut off or stand still, workers die, at every step. What a seed finds, the
// same seed finds again:
//
//	go test ./internal/simulation -run TestSimulation -seed 4711
package simulation
