package settings

// TableNames are two names of the database backend's: of the tables for tasks and for groups, or of
// the schemas that these are in. "": Celery's table, and the schema where connections look first.
type TableNames struct{ Task, Group string }

func (n *TableNames) fields() map[string]any {
	return map[string]any{"task": &n.Task, "group": &n.Group}
}

func (n *TableNames) decode(d *decoder, value any) {
	*n = TableNames{}
	if o, ok := d.object(value); ok {
		d.members(o, n.fields())
	}
}

func (n *TableNames) encode() any { return encodeMembers(n.fields()) }

// EngineOptions is database_engine_options, as far as it means something here.
type EngineOptions struct {
	PoolSize int // connections at most; 0: 5
}

func (e *EngineOptions) fields() map[string]any {
	fields := map[string]any{"pool_size": positive{&e.PoolSize}}
	for _, name := range []string{ // connections are tried, made anew and given back in time anyway
		"echo", "echo_pool", "future", "max_overflow", "pool_pre_ping", "pool_recycle", "pool_reset_on_return", "pool_timeout", "pool_use_lifo",
	} {
		fields[name] = nothing{}
	}
	return fields
}

func (e *EngineOptions) decode(d *decoder, value any) {
	*e = EngineOptions{}
	o, ok := d.object(value)
	if !ok {
		return
	}
	fields := e.fields()
	for _, m := range o {
		dst, known := fields[m.key]
		switch {
		case known:
			d.in(m.key, func() { d.assign(dst, m.value) })
		case !d.inPython: // where the children store results then
			d.in(m.key, func() { d.warn("has no effect: say in the query of the database's URL what the driver is to be told") })
		}
	}
}

func (e *EngineOptions) encode() any { return encodeMembers(e.fields()) }
