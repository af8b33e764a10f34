package stubs

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/apium/apium/tasks"
)

// goOption writes an option of a task. It returns "" for a value that it cannot write.
type goOption struct {
	celery, name string
	write        func(f *goFile, value any) string
}

// goOptions are the options that Go has, in the order in which they are written.
var goOptions = []goOption{
	{"acks_late", "AcksLate", writeBool},
	{"acks_on_failure_or_timeout", "AcksOnFailureOrTimeout", writeBool},
	{"acks_on_failure", "AcksOnFailure", writeBool},
	{"acks_on_timeout", "AcksOnTimeout", writeBool},
	{"reject_on_worker_lost", "RejectOnWorkerLost", writeBool},
	{"retry_on_worker_lost", "RetryOnWorkerLost", writeBool},
	{"ignore_result", "IgnoreResult", writeBool},
	{"track_started", "TrackStarted", writeBool},
	{"store_errors_even_if_ignored", "StoreErrorsEvenIfIgnored", writeBool},
	{"send_events", "SendEvents", writeBool},
	{"trail", "Trail", writeBool},
	{"max_retries", "MaxRetries", writeMaxRetries},
	{"default_retry_delay", "RetryDelay", writeSeconds},
	{"rate_limit", "RateLimit", writeRateLimit},
	{"time_limit", "TimeLimit", writeSeconds},
	{"soft_time_limit", "SoftTimeLimit", writeSeconds},
	{"queue", "Queue", writeText},
	{"routing_key", "RoutingKey", writeText},
	{"priority", "Priority", writeInt},
	{"expires", "Expires", writeSeconds},
	{"serializer", "Serializer", writeText},
	{"compression", "Compression", writeText},
}

// autoRetry are the options of which none means anything without autoretry_for.
var autoRetry = []string{"autoretry_for", "dont_autoretry_for", "retry_kwargs", "retry_backoff", "retry_backoff_max", "retry_jitter"}

// others are the options that have no form in Go, or one that must be written by hand.
var others = []string{"exchange", "throws", "typing", "pydantic", "Strategy", "Request"}

// options are lines of the registration: options, and comments on those that must be written by hand.
func (w *taskWriter) options() (lines []string) {
	softIsMore := seconds(w.value("soft_time_limit")) > seconds(w.value("time_limit")) && seconds(w.value("time_limit")) > 0
	for _, option := range goOptions {
		if _, given := w.task.Options[option.celery]; !given {
			continue
		}
		text := option.write(w.file, w.value(option.celery))
		if text == "" || softIsMore && option.celery == "soft_time_limit" {
			lines = append(lines, "// by hand: "+w.inPython(option.celery))
			continue
		}
		lines = append(lines, "tasks."+option.name+"("+text+"),")
	}
	if _, given := w.task.Options["autoretry_for"]; given {
		var said []string
		for _, name := range autoRetry {
			if _, given := w.task.Options[name]; given {
				said = append(said, w.inPython(name))
			}
		}
		lines = append(lines, "// "+strings.Join(said, ", ")+": name the Go errors in tasks.AutoRetry or AutoRetryOn")
	}
	for _, name := range others {
		if _, given := w.task.Options[name]; given {
			lines = append(lines, "// by hand: "+w.inPython(name))
		}
	}
	return lines
}

// value is the value of an option; nil also for one that is not given.
func (w *taskWriter) value(name string) any {
	value, err := decode(w.task.Options[name])
	if err != nil {
		return nil
	}
	return value
}

// inPython writes an option as Python does.
func (w *taskWriter) inPython(name string) string {
	var shown struct{ Text string }
	if err := json.Unmarshal(w.task.Options[name], &shown); err == nil && shown.Text != "" {
		return name + "=" + oneLine(shown.Text)
	}
	return name + "=" + oneLine(pyLiteral(w.task.Options[name]))
}

func writeBool(_ *goFile, value any) string {
	if b, ok := value.(bool); ok {
		return strconv.FormatBool(b)
	}
	return ""
}

func writeText(_ *goFile, value any) string {
	if text, ok := value.(string); ok {
		return strconv.Quote(text)
	}
	return ""
}

func writeInt(_ *goFile, value any) string {
	number, _ := value.(json.Number)
	if n, err := strconv.ParseInt(string(number), 10, 32); err == nil {
		return strconv.FormatInt(n, 10)
	}
	return ""
}

// writeMaxRetries knows that None lifts the limit.
func writeMaxRetries(f *goFile, value any) string {
	if value == nil {
		return "-1"
	}
	return writeInt(f, value)
}

func writeRateLimit(_ *goFile, value any) string {
	text, ok := value.(string)
	if number, is := value.(json.Number); is {
		text, ok = string(number), true
	}
	if _, err := tasks.ParseRateLimit(text); err != nil || !ok {
		return ""
	}
	return strconv.Quote(text)
}

// seconds is a positive number of seconds that fits a time.Duration; 0: it is none.
func seconds(value any) time.Duration {
	number, _ := value.(json.Number)
	n, err := strconv.ParseFloat(string(number), 64)
	if err != nil || !(n > 0 && n < math.MaxInt64/float64(time.Second)) {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

func writeSeconds(f *goFile, value any) string {
	d := seconds(value)
	if d == 0 {
		return ""
	}
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"Hour", time.Hour}, {"Minute", time.Minute}, {"Second", time.Second}, {"Millisecond", time.Millisecond}} {
		if n := d / unit.size; d%unit.size == 0 {
			if n == 1 {
				return f.use("time") + unit.name
			}
			return strconv.FormatInt(int64(n), 10) + " * " + f.use("time") + unit.name
		}
	}
	return strconv.FormatInt(int64(d), 10)
}
