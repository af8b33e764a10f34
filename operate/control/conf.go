package control

import (
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/apium/apium/protocol"
)

// secret matches the names of settings whose values nobody is shown (celery/app/utils.py:
// HIDDEN_SETTINGS).
var secret = regexp.MustCompile(`(?i)API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE|BEAT_DBURI`)

const mask = "********"

// settings returns the effective settings with secrets masked.
func (m *Mailbox) settings(withDefaults bool) map[string]any {
	if m.cfg.Settings == nil {
		return map[string]any{}
	}
	return Censor(m.cfg.Settings(withDefaults))
}

// Censor returns settings with secrets masked (celery/app/utils.py: filter_hidden_settings).
func Censor(settings map[string]any) map[string]any {
	shown := make(map[string]any, len(settings))
	for name, value := range settings {
		text, isText := value.(string)
		object, isObject := value.(map[string]any)
		lower := strings.ToLower(name)
		switch {
		case isObject:
			value = Censor(object)
		case secret.MatchString(strings.TrimPrefix(lower, "apium_")): // which has an API in it
			value = mask
		case isText && (strings.HasSuffix(lower, "_url") || strings.Contains(lower, "backend")): // Celery: of the broker only
			value = censorURLs(text)
		}
		shown[name] = value
	}
	return shown
}

// password finds the password of each URL in a text: broker_url may hold several.
var password = regexp.MustCompile(`(://[^/?#;@]*?):[^/?#;]*@`)

func censorURLs(text string) string { return password.ReplaceAllString(text, "$1:"+mask+"@") }

func (m *Mailbox) conf(withDefaults any, _ others) any {
	settings := m.settings(truthy(withDefaults))
	for name, value := range settings {
		if strings.HasPrefix(name, "__") {
			delete(settings, name)
		} else if _, err := encode(value); err != nil {
			settings[name] = fmt.Sprint(value)
		}
	}
	return settings
}

func (m *Mailbox) report() any {
	transport, _ := m.cfg.BrokerInfo["transport"].(string)
	about := About{Version: m.cfg.Version, Transport: transport}
	if m.cfg.Python != nil {
		about.Software, about.Loader = m.cfg.Python()
	}
	return succeeded(Report(about, m.settings(false)))
}

// About is what a report says besides settings.
type About struct {
	Version   string            // of this program
	Transport string            // of the broker: redis
	Software  map[string]string // versions of a Python app's software, by Celery's words: celery, kombu, py; nil: there is no app
	Loader    string            // class of the app's loader
}

// Report is the text of "celery report", for bug reports: versions and settings, with
// secrets masked.
func Report(about About, settings map[string]any) string {
	settings = Censor(settings)
	results, _ := settings["result_backend"].(string)
	if results == "" {
		results = "disabled"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nsoftware -> apium:%s go:%s\n", about.Version, strings.TrimPrefix(runtime.Version(), "go"))
	for _, line := range about.software() {
		fmt.Fprintf(&b, "            %s\n", line)
	}
	fmt.Fprintf(&b, "platform -> system:%s arch:%s\n", runtime.GOOS, runtime.GOARCH)
	fmt.Fprintf(&b, "            imp:Go\n")
	if about.Loader != "" {
		fmt.Fprintf(&b, "loader   -> %s\n", about.Loader)
	}
	fmt.Fprintf(&b, "settings -> transport:%s results:%s\n\n", about.Transport, results)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		shown, err := encode(settings[name])
		if err != nil {
			fmt.Fprintf(&b, "%s: %v\n", name, settings[name])
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", name, protocol.Repr(shown))
	}
	return b.String()
}

// software are Celery's two lines of versions.
func (a *About) software() (lines []string) {
	first := []string{"celery", "kombu", "py"}
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(a.Software)), func(name string) bool { return slices.Contains(first, name) })
	for _, names := range [][]string{first, rest} {
		var versions []string
		for _, name := range names {
			if version := a.Software[name]; version != "" {
				versions = append(versions, name+":"+version)
			}
		}
		if versions != nil {
			lines = append(lines, strings.Join(versions, " "))
		}
	}
	return lines
}
