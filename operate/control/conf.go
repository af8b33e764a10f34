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

// Censor returns settings with secrets masked (celery/app/utils.py: filter_hidden_settings), and more of them: passwords in
// any URL, whatever setting it stands in.
func Censor(settings map[string]any) map[string]any {
	shown := make(map[string]any, len(settings))
	for name, value := range settings {
		_, isObject := value.(map[string]any)
		if !isObject && secret.MatchString(strings.TrimPrefix(strings.ToLower(name), "apium_")) { // which has an API in it
			shown[name] = mask
			continue
		}
		shown[name] = censored(value)
	}
	return shown
}

func censored(value any) any {
	switch value := value.(type) {
	case map[string]any:
		return Censor(value)
	case []any:
		shown := make([]any, len(value))
		for i := range value {
			shown[i] = censored(value[i])
		}
		return shown
	case []string:
		shown := make([]string, len(value))
		for i := range value {
			shown[i] = censorURLs(value[i])
		}
		return shown
	case string:
		return censorURLs(value)
	default:
		return value
	}
}

var (
	urls = regexp.MustCompile(`//[^\s'"]*`)
	// another begins the next one of a list, as in broker_url.
	another = regexp.MustCompile(`;[a-zA-Z][\w+.-]*://`)
	// password is all up to the last @: somebody may have forgotten to quote a / in it.
	password = regexp.MustCompile(`(//[^/?#:@]*):.*@`)
	// parameters of a query say a password, too.
	parameters = regexp.MustCompile(`(?i)([?&][^=&#]*(?:pass|secret|token)[^=&#]*=)[^&#]*`)
)

// censorURLs masks what is secret in the URLs of a text.
func censorURLs(text string) string {
	return urls.ReplaceAllStringFunc(text, func(list string) string {
		var b strings.Builder
		for list != "" {
			end := len(list)
			if next := another.FindStringIndex(list); next != nil {
				end = next[0] + 1
			}
			one := password.ReplaceAllString(list[:end], "$1:"+mask+"@")
			b.WriteString(parameters.ReplaceAllString(one, "${1}"+mask))
			list = list[end:]
		}
		return b.String()
	})
}

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
	fmt.Fprintf(&b, "settings -> transport:%s results:%s\n\n", censorURLs(about.Transport), results) // what is no URL may be all of it
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
