package fromsettings

import (
	"cmp"
	"maps"
	"runtime"
	"strings"
	"time"

	"github.com/apium/apium/internal/nodename"
	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/settings"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// Worker is what the settings say to a worker of that node name. What runs and what connects
// it is left to the caller. What it leaves out must stand in unheeded.go.
func Worker(conf *settings.Settings, hostname string) worker.Config {
	var cfg worker.Config
	cfg.Hostname = hostname
	switch {
	case strings.HasPrefix(conf.WorkerPool, "celery.concurrency.solo"), conf.WorkerPool == "solo":
		cfg.Concurrency = 1
	default:
		cfg.Concurrency = cmp.Or(conf.WorkerConcurrency, runtime.GOMAXPROCS(0))
	}
	switch {
	case conf.WorkerDisablePrefetch:
		cfg.PrefetchMultiplier = 1
	case conf.WorkerPrefetchMultiplier == nil: // the worker adapts it
	case *conf.WorkerPrefetchMultiplier == 0:
		cfg.PrefetchMultiplier = worker.UnlimitedPrefetch
	default:
		cfg.PrefetchMultiplier = *conf.WorkerPrefetchMultiplier
	}
	cfg.AcceptContent = conf.AcceptContent
	cfg.Location = conf.Location()
	cfg.Defaults, cfg.Annotations = taskDefaults(conf), annotations(conf)
	cfg.DisableRateLimits = conf.WorkerDisableRateLimits
	cfg.ResultExtended = conf.ResultExtended
	cfg.InheritParentPriority = conf.TaskInheritParentPriority
	cfg.Deduplicate = conf.WorkerDeduplicateSuccessfulTasks
	cfg.StateDB = nodename.Path(conf.WorkerStateDB, hostname)
	cfg.ETATaskLimit = conf.WorkerETATaskLimit
	cfg.ShutdownTimeout, cfg.SettleTimeout = conf.ShutdownTimeout, conf.SettleTimeout
	cfg.ParkAfter = conf.ParkAfter
	cfg.MaxDecompressed = conf.MaxDecompressed
	if cfg.MaxRedeliveries = conf.MaxRedeliveries; cfg.MaxRedeliveries == 0 {
		cfg.MaxRedeliveries = -1 // no limit
	}
	cfg.Unknown = conf.UnknownTask.Default
	cfg.UnknownByQueue = map[string]tasks.UnknownPolicy{}
	maps.Copy(cfg.UnknownByQueue, conf.UnknownTask.Queues)
	cfg.Shares, cfg.Shadows = maps.Clone(conf.Share), maps.Clone(conf.Shadow)
	cfg.SoftShutdownTimeout, cfg.SoftShutdownOnIdle = conf.WorkerSoftShutdownTimeout, conf.WorkerEnableSoftShutdownOnIdle
	cfg.ChordJoinTimeout, cfg.ChordRetryInterval = conf.ResultChordJoinTimeout, conf.ResultChordRetryInterval
	cfg.TaskSerializer, cfg.TaskCompression = conf.TaskSerializer, conf.TaskCompression
	cfg.ErrbacksOnHeader = conf.TaskAllowErrorCbOnChordHeader
	cfg.DefaultQueue = conf.TaskDefaultQueue
	router := conf.Router()
	cfg.Route, cfg.Destination = router.Route, router.Destination
	return cfg
}

// taskDefaults are the options of tasks that do not say otherwise.
func taskDefaults(conf *settings.Settings) tasks.Options {
	o := tasks.Options{
		AcksLate:                 &conf.TaskAcksLate,
		AcksOnFailure:            &conf.TaskAcksOnFailureOrTimeout,
		AcksOnTimeout:            &conf.TaskAcksOnFailureOrTimeout,
		RejectOnWorkerLost:       conf.TaskRejectOnWorkerLost,
		RetryOnWorkerLost:        &conf.TaskRetryOnWorkerLost,
		IgnoreResult:             &conf.TaskIgnoreResult,
		StoreErrorsEvenIfIgnored: &conf.TaskStoreErrorsEvenIfIgnored,
		TrackStarted:             &conf.TaskTrackStarted,
		TimeLimit:                &conf.TaskTimeLimit,
		SoftTimeLimit:            &conf.TaskSoftTimeLimit,
		RateLimit:                conf.TaskDefaultRateLimit,
	}
	if conf.TaskDefaultPriority != nil {
		o.Publishing = canvas.Options{canvas.Priority(*conf.TaskDefaultPriority)}
	}
	if conf.TaskAcksOnFailure != nil {
		o.AcksOnFailure = conf.TaskAcksOnFailure
	}
	if conf.TaskAcksOnTimeout != nil {
		o.AcksOnTimeout = conf.TaskAcksOnTimeout
	}
	DropLateSoftLimit(&o)
	return o
}

// DropLateSoftLimit lifts a soft time limit that comes after the hard one, which a Python
// worker may have: package worker refuses it. It tells whether it did.
func DropLateSoftLimit(o *tasks.Options) bool {
	late := o.TimeLimit != nil && o.SoftTimeLimit != nil && *o.TimeLimit > 0 && *o.SoftTimeLimit > *o.TimeLimit
	if late {
		o.SoftTimeLimit = new(time.Duration)
	}
	return late
}

// annotations says what task_annotations comes to for the tasks it names, and for all
// others, those that every worker has among them.
func annotations(conf *settings.Settings) []map[string]tasks.Options {
	table := map[string]tasks.Options{}
	for _, name := range append(conf.TaskAnnotations.Tasks(), "*") {
		a := conf.TaskAnnotations.For(name)
		o := tasks.Options{ // acks_on_failure_or_timeout has no effect as an annotation, in Celery either
			AcksLate: a.AcksLate, AcksOnFailure: a.AcksOnFailure, AcksOnTimeout: a.AcksOnTimeout, RejectOnWorkerLost: a.RejectOnWorkerLost,
			RetryOnWorkerLost: a.RetryOnWorkerLost,
			IgnoreResult:      a.IgnoreResult, StoreErrorsEvenIfIgnored: a.StoreErrorsEvenIfIgnored, TrackStarted: a.TrackStarted,
			SendEvents: a.SendEvents, Trail: a.Trail, MaxRetries: a.MaxRetries, RetryDelay: a.DefaultRetryDelay,
			TimeLimit: a.TimeLimit, SoftTimeLimit: a.SoftTimeLimit, RateLimit: a.RateLimit,
			Publishing: publishing(&a),
		}
		DropLateSoftLimit(&o)
		table[name] = o
	}
	return []map[string]tasks.Options{table}
}
