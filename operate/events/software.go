package events

import (
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/apium/apium/protocol/pyjson"
)

// software is what worker events say of the program.
func (d *Dispatcher) software(f fields) fields {
	return f.text("sw_ident", "apium").text("sw_ver", d.cfg.Version).text("sw_sys", system())
}

// system is Python's platform.system().
func system() string { return strings.ToUpper(runtime.GOOS[:1]) + runtime.GOOS[1:] }

// loadAverage is the load of the last 1, 5 and 15 minutes, as JSON; zeros where the
// system does not tell.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	load := strings.Fields(string(text))
	if err != nil || len(load) < 3 {
		return "[0.0, 0.0, 0.0]"
	}
	dst := []byte{'['}
	for _, field := range load[:3] {
		value, err := strconv.ParseFloat(field, 64)
		if err != nil || math.IsInf(value, 0) || math.IsNaN(value) {
			value = 0
		}
		dst = appendFloat(pyjson.AppendComma(dst), value)
	}
	return string(append(dst, ']'))
}
