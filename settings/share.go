package settings

import (
	"maps"
	"slices"

	"github.com/apium/apium/tasks"
)

// Shares is apium_share, of which tasks a worker takes only a share of the messages, or apium_shadow: a mapping of
// tasks to percentages ("10%", or the number).
type Shares map[string]tasks.Share

func (s *Shares) decode(d *decoder, value any) {
	*s = nil
	o, ok := value.(object)
	if !ok {
		d.bad("this must be a mapping of tasks to percentages")
		return
	}
	for _, m := range o {
		d.in(m.key, func() {
			text, isText := m.value.(string)
			if !isText {
				text = describe(m.value)
			}
			share, err := tasks.ParseShare(text)
			if err != nil {
				d.bad("%v", err)
				return
			}
			if *s == nil {
				*s = make(Shares, len(o))
			}
			(*s)[m.key] = share
		})
	}
}

func (s *Shares) encode() any {
	o := object{}
	for _, task := range slices.Sorted(maps.Keys(*s)) {
		o = append(o, member{task, (*s)[task].String()})
	}
	return o
}
