package settings

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/apium/apium/broker"
)

// declarationDoc is what task_queues says of a queue's declaration, as kombu's Queue.from_dict takes it:
// what is not said of the queue or of its exchange is what is said of both.
type declarationDoc struct {
	durable, autoDelete                 *bool // of both
	queueDurable, queueAutoDelete       *bool
	exchangeDurable, exchangeAutoDelete *bool

	exclusive, noDeclare, exchangeNoDeclare                           bool
	arguments, bindingArguments, consumerArguments, exchangeArguments map[string]any
	expires, messageTTL                                               *time.Duration
	maxLength, maxLengthBytes, maxPriority                            *int64
}

func (doc *declarationDoc) fields() map[string]any {
	return map[string]any{
		"durable": &doc.durable, "queue_durable": &doc.queueDurable, "exchange_durable": &doc.exchangeDurable,
		"auto_delete": &doc.autoDelete, "queue_auto_delete": &doc.queueAutoDelete, "exchange_auto_delete": &doc.exchangeAutoDelete,
		"exclusive": &doc.exclusive, "no_declare": &doc.noDeclare, "exchange_no_declare": &doc.exchangeNoDeclare,
		"queue_arguments": arguments{&doc.arguments}, "binding_arguments": arguments{&doc.bindingArguments},
		"consumer_arguments": arguments{&doc.consumerArguments}, "exchange_arguments": arguments{&doc.exchangeArguments},
		"expires": &doc.expires, "message_ttl": &doc.messageTTL,
		"max_length": amount{&doc.maxLength}, "max_length_bytes": amount{&doc.maxLengthBytes}, "max_priority": amount{&doc.maxPriority},
	}
}

// declaration is what it comes to.
func (doc *declarationDoc) declaration() broker.Declaration {
	either := func(own, both *bool, otherwise bool) bool {
		switch {
		case own != nil:
			return *own
		case both != nil:
			return *both
		}
		return otherwise
	}
	decl := broker.Declaration{
		Skip: doc.noDeclare, Transient: !either(doc.queueDurable, doc.durable, true), Exclusive: doc.exclusive,
		AutoDelete: either(doc.queueAutoDelete, doc.autoDelete, false) || doc.exclusive,
		Arguments:  doc.arguments, BindingArguments: doc.bindingArguments, ConsumerArguments: doc.consumerArguments,
		Exchange: broker.ExchangeDeclaration{
			Skip: doc.exchangeNoDeclare, Transient: !either(doc.exchangeDurable, doc.durable, true),
			AutoDelete: either(doc.exchangeAutoDelete, doc.autoDelete, false), Arguments: doc.exchangeArguments,
		},
	}
	for name, d := range map[string]*time.Duration{"x-expires": doc.expires, "x-message-ttl": doc.messageTTL} {
		if d != nil {
			decl.SetArgument(name, d.Milliseconds())
		}
	}
	for name, n := range map[string]*int64{
		"x-max-length": doc.maxLength, "x-max-length-bytes": doc.maxLengthBytes, "x-max-priority": doc.maxPriority,
	} {
		if n != nil {
			decl.SetArgument(name, *n)
		}
	}
	return decl
}

// documentOf is a declaration as task_queues says it.
func documentOf(decl *broker.Declaration) *declarationDoc {
	given := func(is, value bool) *bool {
		if !is {
			return nil
		}
		return &value
	}
	return &declarationDoc{
		queueDurable: given(decl.Transient, false), exchangeDurable: given(decl.Exchange.Transient, false),
		queueAutoDelete: given(decl.AutoDelete, true), exchangeAutoDelete: given(decl.Exchange.AutoDelete, true),
		exclusive: decl.Exclusive, noDeclare: decl.Skip, exchangeNoDeclare: decl.Exchange.Skip,
		arguments: decl.Arguments, bindingArguments: decl.BindingArguments, consumerArguments: decl.ConsumerArguments,
		exchangeArguments: decl.Exchange.Arguments,
	}
}

// arguments are those of a declaration: a mapping of plain data.
type arguments struct{ dst *map[string]any }

func (a arguments) decode(d *decoder, value any) {
	*a.dst = nil
	o, ok := d.object(value)
	if !ok || len(o) == 0 {
		return
	}
	*a.dst = make(map[string]any, len(o))
	for _, m := range o {
		d.in(m.key, func() { (*a.dst)[m.key] = d.argument(m.value) })
	}
}

// argument is a value as broker.Declaration has it.
func (d *decoder) argument(value any) any {
	switch v := value.(type) {
	case nil, bool, int64, string:
		return v
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			d.in(strconv.Itoa(i+1), func() { list[i] = d.argument(element) })
		}
		return list
	case object:
		table := make(map[string]any, len(v))
		for _, m := range v {
			d.in(m.key, func() { table[m.key] = d.argument(m.value) })
		}
		return table
	}
	d.bad("%s cannot be sent to RabbitMQ as an argument", describe(value))
	return nil
}

func (a arguments) encode() any {
	if len(*a.dst) == 0 {
		return absent{}
	}
	return encodeArgument(*a.dst)
}

func encodeArgument(value any) any {
	switch v := value.(type) {
	case int:
		return int64(v)
	case int32:
		return int64(v)
	case map[string]any:
		o := object{}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			o = append(o, member{name, encodeArgument(v[name])})
		}
		return o
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = encodeArgument(v[i])
		}
		return list
	}
	return value
}

// amount is a number of messages or bytes, or None.
type amount struct{ dst **int64 }

func (a amount) decode(d *decoder, value any) {
	*a.dst = nil
	if value == nil {
		return
	}
	n, ok := value.(int64)
	if f, isFloat := value.(float64); isFloat && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		n, ok = int64(f), true
	}
	if !ok || n < 0 {
		d.bad("must be a whole number that is not negative, not %s", describe(value))
		return
	}
	*a.dst = &n
}

func (a amount) encode() any {
	if *a.dst == nil {
		return absent{}
	}
	return **a.dst
}
