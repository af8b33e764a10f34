// Package gossip is what a worker learns from other workers, Python's as well as Apium's:
// Mingle exchanges revoked ids and clocks with those that are there when it starts
// (celery/worker/consumer/mingle.py); a Node then listens to their events, knows which of
// them live, and takes part in their elections (celery/worker/consumer/gossip.py).
package gossip
