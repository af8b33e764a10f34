package cli

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// appOptionsFlag has the options of the worker that nobody here knows, and that may be those which
// the Python app adds (app.user_options): only Python can tell. They are JSON, as they were written.
const appOptionsFlag = "app-options"

// appOptions are these options.
type appOptions struct {
	Given   []string `json:"given"`
	Mistake string   `json:"mistake"` // what is wrong with the first of them if the app does not know it
}

func appOptionsOf(c *cli.Context) (o appOptions) {
	_ = json.Unmarshal([]byte(c.String(appOptionsFlag)), &o) // written by argParser; "": there are none
	return o
}

// unknown notes an option of the worker that is not known here, with its value.
func (p *argParser) unknown(option string, hasValue bool, mistake error) error {
	if p.command == nil || p.command.Name != "worker" {
		return mistake
	}
	p.ofApp = append(p.ofApp, option)
	if !hasValue && len(p.rest) > 0 && !strings.HasPrefix(p.rest[0], "-") {
		p.ofApp, p.rest = append(p.ofApp, p.rest[0]), p.rest[1:]
	}
	if p.mistake == nil {
		p.mistake = mistake
	}
	return nil
}

// namesApp tells whether the command line, or the environment, names an app.
func (p *argParser) namesApp() bool {
	if slices.ContainsFunc(p.global, func(option string) bool { return strings.HasPrefix(option, "--app=") }) {
		return true
	}
	flag, ok := findFlag(p.app.Flags, "app").(cli.DocGenerationFlag)
	return ok && slices.ContainsFunc(flag.GetEnvVars(), func(name string) bool { return os.Getenv(name) != "" })
}

func (p *argParser) appOptions() string {
	o := appOptions{Given: p.ofApp}
	var mistake *UsageError
	if errors.As(p.mistake, &mistake) {
		o.Mistake = mistake.Message
	}
	text, _ := json.Marshal(o) //nolint:errchkjson // texts
	return string(text)
}
