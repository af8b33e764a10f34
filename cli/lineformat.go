package cli

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// lineFormat is a form of log lines as Python's logging has it (worker_log_format): texts and
// the names of what stands between them.
type lineFormat struct {
	texts []string // one more than names
	names []string
}

const (
	defaultLogFormat     = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
	defaultTaskLogFormat = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"
)

// fieldValues say what stands in a line of this process, but for what is the line's own.
var fieldValues = map[string]string{
	"processName": "MainProcess", "process": strconv.Itoa(os.Getpid()), "threadName": "MainThread", "name": "celery.worker",
}

// parseLineFormat reads a form. A name with another conversion than s or d, or one that no line here
// has a value for, is an error.
func parseLineFormat(format string) (lineFormat, error) {
	var f lineFormat
	var text strings.Builder
	for rest := format; rest != ""; {
		before, after, found := strings.Cut(rest, "%")
		text.WriteString(before)
		if !found {
			break
		}
		if rest, found = strings.CutPrefix(after, "%"); found {
			text.WriteByte('%')
			continue
		}
		name, after, found := strings.Cut(after, ")")
		name, opened := strings.CutPrefix(name, "(")
		if !found || !opened || !strings.HasPrefix(after, "s") && !strings.HasPrefix(after, "d") {
			return f, fmt.Errorf("'%s' is not understood", format)
		}
		switch name {
		case "asctime", "levelname", "message", "task_name", "task_id":
		default:
			if _, known := fieldValues[name]; !known {
				return f, fmt.Errorf("%%(%s)s is not known", name)
			}
		}
		f.texts, f.names = append(f.texts, text.String()), append(f.names, name)
		text.Reset()
		rest = after[1:]
	}
	f.texts = append(f.texts, text.String())
	return f, nil
}

// must is for what is known to be right.
func must(f lineFormat, err error) lineFormat {
	if err != nil {
		panic(err)
	}
	return f
}

var (
	logFormat     = must(parseLineFormat(defaultLogFormat))
	taskLogFormat = must(parseLineFormat(defaultTaskLogFormat))
)
