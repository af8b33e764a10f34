package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apium/apium/internal/nearest"
)

// environ reads the environment: CELERY_TASK_ACKS_LATE, Celery 3's names, and
// APIUM_UNKNOWN_TASK. What is unknown there may be anybody's, so it is no error.
func (l *loader) environ(environ []string) {
	layer := map[*entry]given{}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if !ours(name) || kubernetes(name, value) {
			continue
		}
		l.origin = Origin{Source: "environment", Key: name}
		e, ok := lookup(name)
		if !ok {
			l.suspect(name)
			continue
		}
		l.text(layer, e, value)
	}
	l.overlay(layer)
}

// ours tells whether an environment variable can be a setting. Names that do not
// speak of Celery are only those its own command line knows.
func ours(name string) bool {
	if name == "CELERY_BEAT_SCHEDULE" { // the file of celery beat -s
		return false
	}
	return strings.HasPrefix(name, "CELERY") || strings.HasPrefix(name, "APIUM_") || name == "BROKER_URL" || name == "RESULT_BACKEND"
}

// kubernetes recognises the variables a service named celery-redis or the like
// brings into every container: CELERY_REDIS_PORT=tcp://10.0.0.11:6379.
func kubernetes(name, value string) bool {
	return strings.HasSuffix(name, "_PORT") && strings.Contains(value, "://")
}

// suspect warns of a variable that looks like a misspelt setting.
func (l *loader) suspect(name string) {
	for _, prefix := range []string{"CELERY_TASK_", "CELERY_RESULT_", "CELERY_BROKER_", "CELERY_WORKER_", "APIUM_"} {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		var known []string
		for spelling := range spellings() {
			if strings.HasPrefix(spelling, prefix) {
				known = append(known, spelling)
			}
		}
		slices.Sort(known)
		if near := nearest.Name(name, known); near != "" {
			l.warn("is no setting. Did you mean '%s'?", near)
			return
		}
	}
}

// commandLine is the Source of what stands behind the options.
const commandLine = "command line"

// args reads name=value. As in Celery a dot is an underscore, a leading one stands
// for nothing, and (type) before a value is the value's own type.
func (l *loader) args(args []string) {
	layer := map[*entry]given{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		l.origin = Origin{Source: commandLine, Key: name}
		if !ok {
			l.origin = Origin{} // the message says it all
			l.bad("got unexpected argument '%s'", arg)
			continue
		}
		name = strings.TrimPrefix(strings.ReplaceAll(strings.ToLower(name), ".", "_"), "_")
		e, ok := lookup(name)
		if !ok {
			l.misspelt(nearest.Name(name, knownLike(name)), "unknown setting")
			continue
		}
		for _, cast := range []string{"(json)", "(dict)", "(list)", "(tuple)", "(int)", "(float)", "(bool)", "(string)"} {
			value = strings.TrimPrefix(value, cast)
		}
		l.text(layer, e, value)
	}
	l.overlay(layer)
}

func (l *loader) option(o Option) {
	e, ok := lookup(o.Setting)
	if !ok {
		panic("settings: there is no setting " + o.Setting)
	}
	l.origin = Origin{Key: o.Flag}
	layer := map[*entry]given{}
	l.text(layer, e, o.Value)
	l.overlay(layer)
}

// text enters a setting that was given as a text.
func (l *loader) text(layer map[*entry]given, e *entry, text string) {
	value, err := parseText(e.kind, text)
	if err != nil {
		l.bad("%v", err)
		return
	}
	l.add(layer, e, value)
}

// parseText reads a value from the environment or the command line, where lists may
// be written with commas and transport options as KEY=VALUE.
func parseText(k kind, s string) (any, error) {
	trimmed := strings.TrimSpace(s)
	if k != text && (strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[")) {
		return parseJSONValue([]byte(trimmed))
	}
	switch k {
	case boolean:
		switch strings.ToLower(trimmed) {
		case "y", "yes", "t", "true", "on", "1":
			return true, nil
		case "n", "no", "f", "false", "off", "0", "":
			return false, nil
		}
		return nil, fmt.Errorf("'%s' is neither true nor false", s)
	case integer, float:
		return parseAmount(trimmed), nil
	case list, tuple:
		items := []any{}
		for item := range strings.SplitSeq(s, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		return items, nil
	case mapping:
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, errors.New("it is not KEY=VALUE, nor a JSON object") // it may be a secret
		}
		return object{{strings.TrimSpace(key), parseOption(value)}}, nil
	case anything:
		return parseAmount(s), nil
	default:
		return s, nil
	}
}

// parseAmount is a number if it can be, else a text such as 1h30m.
func parseAmount(s string) any {
	if s == "" {
		return nil
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return f
	}
	return s
}

// parseOption is one transport option's value: JSON, a list with commas, Python's
// True and False, or a text.
func parseOption(s string) any {
	switch s {
	case "True":
		return true
	case "False":
		return false
	case "None":
		return nil
	}
	if v, err := parseJSONValue([]byte(s)); err == nil {
		return v
	}
	if strings.Contains(s, ",") {
		items := []any{}
		for item := range strings.SplitSeq(strings.Trim(s, "[] "), ",") {
			items = append(items, parseOption(strings.TrimSpace(item)))
		}
		if !slices.ContainsFunc(items, func(v any) bool { _, ok := v.(string); return ok }) {
			return items
		}
	}
	return s
}
