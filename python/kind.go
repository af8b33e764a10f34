package python

import "github.com/apium/apium/worker"

// kind is one of Celery's pools.
type kind struct {
	module string // below celery.concurrency
	// shared says that one process runs all tasks, as many at a time as there are slots. It is what
	// the MainProcess is in Celery.
	shared bool
	// green says that tasks are greenlets, each of which can be stopped.
	green      bool
	most       int // slots; 0: any number
	restraints worker.Restraints
}

// kinds are the pools by their names for -P. Of those that run in one process, Celery heeds only the
// hard time limits of gevent.
var kinds = map[string]kind{
	"prefork":  {module: "prefork"},
	"solo":     {module: "solo", shared: true, most: 1, restraints: worker.Restraints{NoTimeLimit: true, NoSoftTimeLimit: true, NoTerminate: true}},
	"threads":  {module: "thread", shared: true, restraints: worker.Restraints{NoTimeLimit: true, NoSoftTimeLimit: true, NoTerminate: true}},
	"gevent":   {module: "gevent", shared: true, green: true, restraints: worker.Restraints{NoSoftTimeLimit: true}},
	"eventlet": {module: "eventlet", shared: true, green: true, restraints: worker.Restraints{NoTimeLimit: true, NoSoftTimeLimit: true}},
}

// implementation is the class of the pool, as inspect stats names it.
func (k *kind) implementation() string { return "celery.concurrency." + k.module + ":TaskPool" }

// unknownPool is for a pool that is none of Celery's own.
func (o *Options) unknownPool(class string) *LoadError {
	return &LoadError{
		App: o.App, HasCelery: true,
		Text: "Its pool is " + class + ", which is none of Celery's own: tasks may need what only Celery's worker has.\n" +
			"Choose another with -P, such as -P prefork, or run this worker with celery.",
	}
}

// PoolModule is how Celery's banner names the pool: prefork, solo, thread, gevent or eventlet.
func (m *Manifest) PoolModule() string { return kinds[m.Pool].module }
