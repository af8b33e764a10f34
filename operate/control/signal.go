package control

import (
	"strings"

	"github.com/apium/apium/tasks"
)

// signals are those of Python's module signal on Linux. They are names only: in Go a
// task is stopped in one way.
var signals = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "IOT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
	"USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CLD": 17,
	"CONT": 18, "STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26,
	"PROF": 27, "WINCH": 28, "IO": 29, "POLL": 29, "PWR": 30, "SYS": 31, "RTMIN": 34, "RTMAX": 64,
}

// signalNumber reads the argument signal (celery/platforms.py: Signals.signum).
func signalNumber(signal any) (int, error) {
	if !truthy(signal) {
		return signals["TERM"], nil
	}
	if number, ok := signal.(int64); ok {
		return int(number), nil
	}
	name, ok := signal.(string)
	if !ok || strings.ToUpper(name) != name || strings.ToLower(name) == name {
		return 0, tasks.Raise("TypeError", "signal name must be uppercase string.")
	}
	number, known := signals[strings.TrimPrefix(name, "SIG")]
	if !known {
		return 0, tasks.Raise("AttributeError", "module 'signal' has no attribute 'SIG"+strings.TrimPrefix(name, "SIG")+"'")
	}
	return number, nil
}
