package broker

import (
	"cmp"
	"regexp"
	"strings"
	"unicode"
)

// Binding routes messages of an exchange to a queue, as kombu's routing tables do.
type Binding struct {
	RoutingKey string
	Pattern    string // of topic exchanges: a regular expression in Python's syntax
	Queue      string
}

// Binding returns the exchange that a queue without Bindings is bound to, and how.
func (q Queue) Binding() (exchange string, b Binding) {
	b = Binding{RoutingKey: q.RoutingKey, Queue: q.Name}
	if q.Exchange == "" && q.RoutingKey == "" {
		b.RoutingKey = q.Name
	}
	if q.ExchangeType == Topic {
		b.Pattern = topicPattern(b.RoutingKey)
	}
	return cmp.Or(q.Exchange, q.Name), b
}

// Bound returns the queue as each of its exchanges sees it: once for each of its
// Bindings, or just as it is when it has none.
func (q Queue) Bound() []Queue {
	if len(q.Bindings) == 0 {
		return []Queue{q}
	}
	bound := make([]Queue, len(q.Bindings))
	for i, s := range q.Bindings {
		declaration := q.Declaration
		declaration.BindingArguments, declaration.Exchange = s.Arguments, s.Declaration
		bound[i] = Queue{
			Name: q.Name, Exchange: s.Exchange, ExchangeType: s.ExchangeType, RoutingKey: s.RoutingKey, Declaration: declaration,
		}
	}
	return bound
}

// Matches tells whether the binding routes a message with this routing key. Like
// Python's re.match, a pattern is matched from the start.
func (b Binding) Matches(routingKey string) bool {
	if b.Pattern == "" {
		return b.RoutingKey == routingKey
	}
	re, err := regexp.Compile("^(?:" + b.Pattern + ")")
	return err == nil && re.MatchString(routingKey)
}

// topicPattern writes a topic exchange's binding key as kombu's
// TopicExchange.key_to_pattern: a star is one word, # any number of characters.
func topicPattern(key string) string {
	words := strings.Split(key, ".")
	for i, word := range words {
		switch word {
		case "*":
			words[i] = `[^\.]+`
		case "#":
			words[i] = `.*?`
		default:
			words[i] = escapePattern(word)
		}
	}
	return "^" + strings.Join(words, `\.`) + "$"
}

// escapePattern is kombu's escape_regex: everything but letters, digits and the
// wildcards of topic exchanges gets a backslash.
func escapePattern(word string) string {
	var b strings.Builder
	for _, r := range word {
		if !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '#' && r != '*' {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
