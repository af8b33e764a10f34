package compat_test

import (
	"sync/atomic"
	"testing"
)

// parityAccepted is a difference that stays, with the reason. All but the reason are regular
// expressions; where is world/scenario, or all of version world/scenario.
type parityAccepted struct {
	where, at, celery, apium, reason string

	chance bool // it is not there in each run
	used   atomic.Bool
}

// always is one that each run has.
func always(where, at, celery, apium, reason string) *parityAccepted {
	return &parityAccepted{where: where, at: at, celery: celery, apium: apium, reason: reason}
}

// sometimes is one that some runs have.
func sometimes(where, at, celery, apium, reason string) *parityAccepted {
	return &parityAccepted{where: where, at: at, celery: celery, apium: apium, reason: reason, chance: true}
}

func (d *parityAccepted) accepts(version, where, at, celery, apium string) bool {
	return (matches(d.where, where) || matches(d.where, version+" "+where)) && matches(d.at, at) && matches(d.celery, celery) && matches(d.apium, apium)
}

// accepts tells whether a difference is one that stays. The first one that says so counts as used.
func (c parityColumn) accepts(version, where, at, celery, apium string) bool {
	tables := [][]*parityAccepted{parityDifferences}
	if c.name != "apium" {
		tables = append(tables, goDifferences)
	}
	for _, table := range tables {
		for _, d := range table {
			if d.accepts(version, where, at, celery, apium) {
				d.used.Store(true)
				return true
			}
		}
	}
	return false
}

// allUsed fails for what is accepted and does not happen. It is asked when all scenarios have run.
func allUsed(t *testing.T) {
	t.Helper()
	for _, table := range [][]*parityAccepted{parityDifferences, goDifferences} {
		for _, d := range table {
			if !d.chance && !d.used.Load() {
				t.Errorf("nothing differs any more (%s): %s, %s, %s, %s", d.reason, d.where, d.at, d.celery, d.apium)
			}
		}
	}
}

// parityDifferences are those that children have.
var parityDifferences = []*parityAccepted{
	// Lines of the log.
	always(".*/", "log: .*Metrics at http.*", "missing", "I", "Celery's worker has no metrics"),
	sometimes("deaths on RabbitMQ/closes all", "add#1: events sent.*", ".*", ".*", "nobody confirms an event, and its connection is closed as soon as it is written"),
	sometimes("protocol 1 in pickle/", "log: .*Control command error: EncodeError\\(TypeError\\('Object of type Basket is not JSON.*", "I+", "missing",
		"Celery cannot tell of a task that runs with such arguments"),
	sometimes(".*/", "log: .*Still loading the app.*", "missing", "I+", "Celery does not say that an import takes long"),
	always("log formats/.*", "log: # INFO MainProcess celery\\.(worker|apps)[.\\w]*: .*", "I+|missing", "I+|missing", "the lines of the worker have one logger"),
	always("logs by (hand|signal)/.*", "log: (# INFO\\|celery\\.(worker|apps)[.\\w]*\\|MainProcess\\|.*|\\[<date>: INFO/MainProcess\\] .*)", "I+|missing", "I+|missing",
		"the lines of the worker itself are in its own form"),
	sometimes("logs by signal/.*", "log: .*(Task shoptasks.logging_setup|printed).*", "I+|missing", "I+|missing", "what is printed past the log falls between its lines"),
	always(".*/.*", "log: (.*Received unregistered task of type 'shoptasks.nosuch'\\..*|.* \\(\\d+b\\) \\{\\} \\(2b\\)\n.*)", "I|missing", "I|missing",
		"the message is shown in other words"),
	always("life/", "log: .*pidbox command error: KeyError\\('shop_nothing'\\).*", "I|missing", "I|missing", "the frames of Celery's MainProcess"),
	always("5.7 deaths/", "log: .*(Process ForkPoolWorker-N\n|WARNING/ForkPoolWorker-N\\]).*", "I+", "missing", "billiard stumbles over sys.exit with a text"),
	sometimes(".*/", "log: .*Process 'ForkPoolWorker-N' pid:N exited with 'signal (9 \\(SIGKILL\\)|15 \\(SIGTERM\\))'", "I*|missing", "I*|missing",
		"a process that is killed may have ended by itself before"),
	sometimes("asked/", "log: .*Requeuing undeliverable message.*", "I*", "missing", "a message that comes while its queue is given up is not taken"),
	always("pickle/expired", "log: .*Cannot read the body.*", "missing", "I", "what only Python can read is not read for a task that does not run"),

	always("deaths/", "log: .*Pool process .* error: OSError\\(9, 'Bad file descriptor'\\).*", "I|missing", "I|missing", "the frames of billiard, where it cannot answer"),
	sometimes("deaths/", "log: .*Process 'ForkPoolWorker-N' pid:N exited with 'exitcode 1'", "I*|missing", "I*|missing", "billiard may look for ended processes too late"),

	// Processes that end.
	always(".*", ".*events worker.*\\.exception", "ExceptionWithTraceback\\(\\)", "(WorkerLostError|TimeLimitExceeded)\\(.*|missing",
		"Celery sends the wrapper of the exception instead of the exception"),
	always(
		".*", ".*events worker.*\\.traceback", ".*(mark_as_worker_lost|_worker_lost_info|on_hard_timeout|in on_timeout).*(WorkerLostError|TimeLimitExceeded).*",
		"|missing|.*Retry: Retry in \\d+s: WorkerLostError.*|.*apium child.*", "the frames of Celery's MainProcess, where the exception is made",
	),
	always(".*/(soft, then )?hard.*", ".*#1: events worker\\.length", "4", "3", "Celery says twice that a task is over its hard limit"),
	always(".*/(soft, then )?hard.*", ".*#1: events worker\\[3\\]\\.\\w+", ".*", "missing", "Celery says twice that a task is over its hard limit"),
	always("limits/hard with errback", "journal: .*what:errback.*", "II", "I", "Celery calls the errbacks of a task over its hard limit twice"),
	sometimes("deaths/SIGTERM.*", ".*(record.result.exc_message\\[0\\]|\\.exception)", ".*(exitcode|signal) 15.*", ".*(exitcode|signal) 15.*",
		"whether billiard's handler of the signal comes to an end is a matter of chance"),
	sometimes("deaths/", "log: .*(Task handler raised error: WorkerLostError.*(exitcode|signal) 15|exited with 'exitcode 15').*", "I*|missing", "I*|missing", "whether billiard's handler of the signal comes to an end is a matter of chance"),
	sometimes("(hooks|only signals)/hard limit", "journal: .*status:(FAILURE|PENDING) .*what:(task_postrun|task_failure).*", "I*|missing", "I*|missing",
		"whether its process is ended before its failure is stored is a matter of chance"),
	sometimes("(limits/hard|deaths/in) (in )?a chord", "chord#1: record\\.(children.*|traceback|result\\.exc_message\\[0\\])", ".*", ".*",
		"who has counted the last part of the header is a matter of chance"),
	sometimes("(limits/hard|deaths/in) (in )?a chord", "log: .*Chord 'group#0' raised.*", "I|missing", "I|missing", "who has counted the last part of the header is a matter of chance"),
	always(".*/", "keys.celery-taskset-meta-<id>\\.[acdjs].*", ".*", ".*", "ours keeps for a while what it knows of a chord that has failed, to turn late parts away"),

	// Exceptions and results.
	always("plain/fails with no Exception", "fail#1: (record|events worker\\[2\\])\\..*", ".*(MaybeEncodingError|PicklingError|WorkerLostError|exited prematurely).*|null|.*ExceptionInfo.*|billiard.*|2|<date T>",
		".*nowhere.*|.*not an Exception.*|Root|1|missing|<date T\\+00:00>", "an exception that is no Exception, and cannot be pickled, does not fit through Celery's pipe"),
	always("plain/fails with no Exception", "log: .*nowhere\\.Root: not an Exception", "missing|I", "missing|I", "the frames of Celery's tracer"),
	always("plain/", "log: .*Task handler raised error: (<MaybeEncodingError|GeneratorExit\\(\\)|WorkerLostError\\('Worker exited prematurely: GeneratorExit).*", "I|missing", "I|missing",
		"an exception that is no Exception"),
	always("plain/GeneratorExit", "fail#1: (record\\.(result\\..*|date_done)|events worker\\[2\\]\\.(exception|traceback))", ".*", ".*GeneratorExit\\..*|1|billiard.exceptions|WorkerLostError||<date T\\+00:00>",
		"stored as it is, it would end the program that asks for the result: it is a WorkerLostError, as SystemExit"),
	always(
		".*/(unencodable|returns (bytes|set|object|generator|exception|class|delta)|object in a chain)", ".*traceback", ".*EncodeError: Object of type.*", ".*EncodeError: Object of type.*|…\n.*EncodeError.*",
		"a result is encoded where the worker is to store it: these are frames of the driver",
	),
	always(
		".*/(unencodable|returns (bytes|set|object|generator|exception|class|delta)|object in a chain)", "log: .*raised unexpected: EncodeError.*", "I|missing", "I|missing",
		"a result is encoded where the worker is to store it: these are frames of the driver",
	),
	always("(protocol 1 in )?pickle/(dies|hard|expired|revoked|unregistered)", ".*: record\\.result.*", ".*", ".*", "what the worker itself stores of an exception are data, of which clients make one"),
	always("results in yaml/(dies|expired)", ".*: record\\.\\((encoding|kind|order)\\).*", ".*", ".*", "what the worker itself stores is JSON, which is YAML"),
	sometimes("(hooks|only signals)/replace", "journal: .*state:IGNORED.*what:task_postrun.*", "I|missing", "I|missing", "the replacement, which has the same id, may have ended by then"),
	always(".*protocol 1.*", ".*events worker\\[\\d\\]\\.(args|kwargs)", "missing", "[({].*", "Celery does not know the arguments of such a message when it receives it"),

	// What operators are told.
	always("asked/(stats|then a task)", "says fields.*", ".*", ".*", "other_pools has Go's slots"),
	always("asked/registered", "says tasks.*", "shoptasks.with_options .* priority=5\\]", "shoptasks.with_options .*", "what a worker has no need of is not known"),
	always("asked/conf", "says conf\\.(include.*|result_backend_transport_options\\..*|worker_disable_prefetch)", ".*", ".*", "what tells this worker of the app, and what means nothing to it"),

	// Older Celerys.
	always("(5.2|4.4) asked/.*", "says (active|query|reserved|scheduled).*\\.redelivered", "null|missing", "false", "operators are told what Celery 5.7 tells"),
	always("(5.2|4.4) asked/scheduled", "says query\\..*", "missing", ".*", "operators are told what Celery 5.7 tells: where a task is that waits for its ETA"),
	always("(5.2|4.4) asked/(stats|then a task)", "says (broker\\.credential_provider|pool\\.implementation)", "missing", ".*", "operators are told what Celery 5.7 tells"),
	always("(5.2|4.4) asked/conf", "says conf\\.(broker_connection_retry_on_startup|database_engine_options|deprecated_settings|worker_concurrency)", "missing|true", ".*", "settings are those of Celery 5.7"),
	always("(5.2|4.4) asked/", "keys.celery-task-meta-revoked-1.*", "missing", ".*", "what is revoked before it comes is stored as REVOKED, as with Celery 5.7"),
	always("(5.2|4.4) .*", ".*date_done", "<date T>", "<date T\\+00:00>", "records that the worker itself writes are as those of Celery 5.7"),
	always("(5.2|4.4) limits/hard, comes again", "hard_not_acknowledged#1: (events worker|record).*", ".*", ".*", "since 5.3 a message that is not to be acknowledged comes again; before, it was lost"),
	always(
		"(5.2|4.4) plain/(fails with hidden class|fails and cannot pickle)", "fail#1: (record\\.(result|traceback)|events worker\\[2\\]\\.(exception|traceback)).*",
		".*MaybeEncodingError.*|.*PicklingError.*|.*ExceptionInfo.*|null|2|billiard.pool", ".*", "an exception that cannot be pickled does not fit through the pipe of older Celerys",
	),
	always("4.4 .*", ".*events worker.*\\.exception", "None", "OutOfStock.*", "why a task is retried gets lost on the way to its MainProcess"),
	always("4.4 deaths/late, rejected", "journal: .*redelivered.*", "II|missing", "I", "it does not say that a message comes again"),
	always("4.4 deaths/in a chain", "chain#1: record\\..*", "missing", ".*", "what a lost process means for others is told as Celery 5.7 does"),
	sometimes("4.4 limits/terminate.*", ".*events worker(\\.length|\\[3\\].*)", ".*", "3|missing", "it may say twice that a task is revoked"),
	sometimes("4.4 canvas/.*", ".*\\.args", "\\(\\[.*", "\\(\\[.*", "the parts of a chord are in no order"),
}

// goDifferences are those that come from a handler being a Go function.
var goDifferences = []*parityAccepted{
	always(".*", ".*\\.lang", "py", "go", "who has published the message"),
	always(".*", ".*events worker.*\\.traceback", ".*(TimeLimitExceeded|WorkerLostError|Reject): .*", "", "the frames of Celery's MainProcess, where the exception is made"),
	always(".*/(object in a chain|returns object)", ".*(exc_message\\[0\\]|exception)", ".*type Opaque is.*", ".*type main.object is.*", "the name of the class"),
	always("results in yaml/.*", ".*record\\.\\((encoding|kind|order)\\).*", ".*", ".*", "what the worker itself stores is JSON, which is YAML"),
	always("plain/(returns (text|surrogate)|odd characters)", "log: .* succeeded in Ns: .*", "I|missing", "I|missing", "what is no printable text is shown escaped"),
	always("canvas/", "log: .*Giving up refused callback publish .*type Opaque.*", "I", "missing", "a result is encoded before anything is published"),
}
