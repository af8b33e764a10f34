// Package nodename knows how workers are named: celery@host, and what stands for parts of that
// in the names of workers and their files.
package nodename

import (
	"os"
	"strings"
)

// Of expands a --hostname value as Celery does: %h is the full host name,
// %n its first part, %d its domain, %% a percent sign. A value without @ names
// the host; the name is then "celery".
func Of(value, host string) string {
	name, domain, found := strings.Cut(value, "@")
	if !found {
		name, domain = "", value
	}
	if name == "" {
		name = "celery"
	}
	if domain == "" {
		domain = host
	}
	short, rest, _ := strings.Cut(host, ".")
	return expand(name+"@"+domain, map[byte]string{'h': host, 'n': short, 'd': rest})
}

// Path expands a log or pid file name: %n is the node's name, %h its host,
// %d its domain, %p both, %i and %I the pool process, of which there is one.
func Path(path, node string) string {
	name, host, _ := strings.Cut(node, "@")
	_, domain, _ := strings.Cut(host, ".")
	return expand(path, map[byte]string{'n': name, 'h': host, 'd': domain, 'p': node, 'i': "0", 'I': ""})
}

// expand replaces %x by its value; a letter without one stays as it is.
func expand(s string, values map[byte]string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if value, ok := values[s[i]]; ok {
			b.WriteString(value)
		} else if s[i] == '%' {
			b.WriteByte('%')
		} else {
			b.WriteByte('%')
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// Host is this machine's name, as Python's socket.gethostname gives it.
func Host() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
