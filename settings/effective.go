package settings

// Table returns settings by their names in Celery, as they were given, with or without
// those that have their default. apium_unknown_task, apium_share and apium_shadow are shown as they are in force: a program
// may add to them, as --unknown-task, --share and --shadow do. Nothing in it is masked.
func (s *Settings) Table(withDefaults bool) map[string]any {
	table := map[string]any{}
	if withDefaults {
		for _, e := range entries() {
			if !e.retired && !e.unlisted {
				table[e.name] = plain(e.def)
			}
		}
	}
	for name, g := range s.given {
		table[name] = plain(g.value)
	}
	const unknown = "apium_unknown_task"
	if policy := s.UnknownTask.encode(); table[unknown] != nil || policy != any("fail") {
		table[unknown] = plain(policy)
	}
	if len(s.Share) > 0 {
		table["apium_share"] = plain(s.Share.encode())
	}
	if len(s.Shadow) > 0 {
		table["apium_shadow"] = plain(s.Shadow.encode())
	}
	return table
}
