package settings

// lockKey is a text, of which None is not the default but means that there is no lock.
type lockKey struct{ dst **string }

func (l lockKey) decode(d *decoder, value any) {
	*l.dst = new(string)
	if value != nil && value != false {
		d.assign(l.dst, value)
	}
}

func (l lockKey) encode() any {
	if *l.dst != nil && **l.dst == "" {
		return false
	}
	return encode(l.dst)
}

// connectionOptions are those of a connection, as other clients than kombu take them.
type connectionOptions struct{ o *ConnectionOptions }

func (c connectionOptions) decode(d *decoder, value any) {
	*c.o = ConnectionOptions{}
	if o, ok := d.object(value); ok {
		d.members(o, c.fields())
	}
}

func (c connectionOptions) encode() any { return encodeMembers(c.fields()) }

func (c connectionOptions) fields() map[string]any {
	fields := connectionFields(c.o)
	fields["service_name"] = &c.o.MasterName
	fields["retry_period"] = nothing{} // connecting is tried for ever
	return fields
}
