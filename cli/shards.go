package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/logline"
	"github.com/apium/apium/internal/nodename"
	"github.com/apium/apium/operate/metrics"
)

// again is how long a shard whose worker has given up its broker waits for the next one: as long as the unit of systemd waits in
// docs/deploy.
const again = 5 * time.Second

// shardWorkers are the workers of several shards, which run side by side and know nothing of each other.
type shardWorkers struct {
	all []*shardWorker
	log *slog.Logger
}

// shardWorker is the worker of a shard, and the next one when that had to give up.
type shardWorker struct {
	*shard
	now atomic.Pointer[app.Worker] // nil: it was shut down
}

// checkShards refuses what two shards would do to each other.
func checkShards(shards []*shard) error {
	files := map[string]string{}
	for _, sh := range shards {
		file := nodename.Path(sh.s.conf.WorkerStateDB, sh.s.opts.Hostname)
		if other, taken := files[file]; taken && file != "" {
			return fmt.Errorf("-S/--statedb %s: the shards %s and %s would write the same file: put %%n into its name, which stands for the shard's", file, other, sh.name)
		}
		files[file] = sh.name
	}
	return nil
}

// serveShards runs a worker for each shard until all have ended.
func (p *program) serveShards(stop *stopper, shards []*shard, log *slog.Logger) error {
	all := &shardWorkers{log: log}
	for _, sh := range shards {
		all.all = append(all.all, &shardWorker{shard: sh})
	}
	endMetrics, err := all.serveMetrics()
	if err != nil {
		return err
	}
	defer endMetrics()
	if err := all.make(p); err != nil {
		return err
	}
	stop.supervisor.serves(all)
	if shards[0].project != nil {
		reload := all.restart
		stop.reload.Store(&reload)
	}
	errs := make([]error, len(shards))
	var running sync.WaitGroup
	for i, sw := range all.all {
		running.Go(func() { errs[i] = all.run(p, stop, sw) })
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return stop.ended(err)
		}
	}
	return nil
}

// make makes all workers, before the first one connects to anything: what is wrong with one of them is told, and nothing has begun.
func (a *shardWorkers) make(p *program) error {
	brokers := map[string]string{}
	for _, sw := range a.all {
		w, err := p.make(sw.shard)
		if err != nil {
			return err
		}
		if other, taken := brokers[w.Broker()]; taken {
			return usage(sw.c, fmt.Errorf("the shards %s and %s have the same broker, %s: leave one out, or give it another database or virtual host", other, sw.name, w.Broker()), false)
		}
		brokers[w.Broker()] = sw.name
		sw.now.Store(w)
	}
	for _, sw := range a.all {
		p.announce(sw.shard, sw.now.Load())
	}
	return nil
}

// serveMetrics serves the figures of all workers at one address, if that is wanted.
func (a *shardWorkers) serveMetrics() (end func(), err error) {
	addr := a.all[0].s.conf.MetricsAddr
	if addr == "" {
		return func() {}, nil
	}
	shared := metrics.NewShared("shard", a.Ready)
	server, err := shared.Listen(addr)
	if err != nil {
		return nil, err
	}
	for _, sw := range a.all {
		sw.s.conf.MetricsAddr, sw.s.opts.Registerer = "", shared.Registerer(sw.name)
	}
	a.log.Info("Metrics at http://"+server.Addr()+"/metrics", logline.EventKey, "Metrics are served", "address", server.Addr())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = server.Shutdown(ctx) // scrapes under way may be cut short
	}, nil
}

// run runs the workers of a shard, one after the other: whatever its broker does, the others go on. Only what is no
// broker's fault ends them all, as it ends a process with one worker.
func (a *shardWorkers) run(p *program, stop *stopper, sw *shardWorker) error {
	defer sw.now.Store(nil)
	for {
		err := stop.run(sw.now.Load())
		var away *app.ConnectionError
		switch {
		case stop.warm.Err() != nil:
			return err
		case err == nil:
			sw.s.log.Warn("Shard "+sw.name+" was shut down; the others go on", logline.EventKey, "Shard was shut down")
			return nil
		case !errors.As(err, &away):
			stop.stopWarm(nil)
			return sw.of(err)
		}
		sw.s.log.Error(fmt.Sprintf("Shard %s cannot be served, and the others go on: %v. Trying again in %.0f s", sw.name, err, again.Seconds()),
			logline.EventKey, "Shard cannot be served", "error", err.Error())
		select {
		case <-time.After(again):
		case <-stop.warm.Done():
			return nil
		}
		next, err := p.make(sw.shard)
		if err != nil {
			stop.stopWarm(nil)
			return err
		}
		sw.now.Store(next)
	}
}

// restart has all workers load the app's code anew.
func (a *shardWorkers) restart(ctx context.Context) error {
	errs := make([]error, len(a.all))
	var loading sync.WaitGroup
	for i, sw := range a.all {
		if w := sw.now.Load(); w != nil {
			loading.Go(func() { errs[i] = sw.of(w.Restart(ctx)) })
		}
	}
	loading.Wait()
	return errors.Join(errs...)
}

// away says of each shard that is not served why.
func (a *shardWorkers) away() (lines []string) {
	for _, sw := range a.all {
		if w := sw.now.Load(); w == nil {
			lines = append(lines, sw.name+": shut down")
		} else if err := w.Ready(); err != nil {
			lines = append(lines, sw.name+": "+err.Error())
		}
	}
	return lines
}

// Ready is nil while any shard is served: whoever stops or holds back a process that is not ready, as supervisors do, would
// take the others away with the one whose broker is.
func (a *shardWorkers) Ready() error {
	if away := a.away(); len(away) == len(a.all) {
		return errors.New(strings.Join(away, "; "))
	}
	return nil
}

// Status is what a supervisor shows: ready, and which shards are not.
func (a *shardWorkers) Status() string {
	away := a.away()
	if len(away) == 0 {
		return "ready"
	}
	if len(away) < len(a.all) {
		return "ready, but for " + strings.Join(away, "; ")
	}
	return strings.Join(away, "; ")
}

// Alive asks all of them.
func (a *shardWorkers) Alive() error {
	for _, sw := range a.all {
		if w := sw.now.Load(); w != nil {
			if err := w.Alive(); err != nil {
				return sw.of(err)
			}
		}
	}
	return nil
}
