// Package serverurl reads URLs of brokers and result backends as kombu does, and what goes with
// them for TLS.
package serverurl

import (
	"errors"
	"strconv"
	"strings"
)

// URL has the parts of a URL, decoded.
type URL struct {
	Scheme, Host, Port string // Host without the brackets of an IPv6 address
	Username, Password string
	Path               string // without the leading slash
	Query              []Param
}

// Param is a parameter of a URL's query.
type Param struct{ Key, Value string }

// ErrNoScheme says that a text is no URL.
var ErrNoScheme = errors.New("it has no scheme")

// Split splits as Python's urllib does with an http URL, which is how kombu
// reads any URL: the last @ ends the user, and nothing is invalid but the port.
func Split(raw string) (URL, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return URL{}, ErrNoScheme
	}
	u := URL{Scheme: strings.ToLower(scheme)}
	rest, _, _ = strings.Cut(rest, "#")
	rest, query, _ := strings.Cut(rest, "?")
	netloc, path, _ := strings.Cut(rest, "/")
	u.Path = unquote(path)
	u.Query = splitQuery(query)

	host := netloc
	if i := strings.LastIndexByte(netloc, '@'); i >= 0 {
		user, password, _ := strings.Cut(netloc[:i], ":")
		u.Username, u.Password = unquote(user), unquote(password)
		host = netloc[i+1:]
	}
	if _, v6, ok := strings.Cut(host, "["); ok {
		host, u.Port, _ = strings.Cut(v6, "]")
		_, u.Port, _ = strings.Cut(u.Port, ":")
	} else {
		host, u.Port, _ = strings.Cut(host, ":")
	}
	u.Host = strings.ToLower(unquote(host))
	if u.Port != "" {
		if _, err := strconv.ParseUint(u.Port, 10, 16); err != nil {
			// The port is not quoted: an unescaped / or # in a password ends up here.
			return u, errors.New("the port is not a number up to 65535; the characters / ? # % in a password must be percent-encoded")
		}
	}
	return u, nil
}

// Masked names the URL in errors: without its password and its query.
func (u URL) Masked() string {
	user := u.Username
	if u.Password != "" {
		user += ":**"
	}
	if user != "" {
		user += "@"
	}
	host := u.Host
	if u.Port != "" {
		host += ":" + u.Port
	}
	return u.Scheme + "://" + user + host + "/" + MaskedPath(u.Path)
}

// MaskedPath is the path of a URL without what comes before an @: the rest of a password whose / was not quoted.
func MaskedPath(path string) string {
	if at := strings.LastIndexByte(path, '@'); at >= 0 {
		return "**" + path[at:]
	}
	return path
}

func splitQuery(s string) []Param {
	var params []Param
	for _, pair := range strings.Split(s, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if value == "" {
			continue // as Python's parse_qsl
		}
		plus := strings.NewReplacer("+", " ")
		params = append(params, Param{unquote(plus.Replace(key)), unquote(plus.Replace(value))})
	}
	return params
}

// unquote decodes %xx and leaves what is no such escape as it is.
func unquote(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if b, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(b))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}
