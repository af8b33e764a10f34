package settings

// ownEntries are the settings Celery does not have.
var ownEntries = []entry{
	{name: "apium_unknown_task", kind: anything, def: "fail", field: func(s *Settings) any { return &s.UnknownTask }},
	{name: "apium_share", kind: anything, field: func(s *Settings) any { return &s.Share }},
	{name: "apium_shadow", kind: anything, field: func(s *Settings) any { return &s.Shadow }},
	{name: "apium_max_redeliveries", kind: integer, def: int64(10), field: func(s *Settings) any { return positive{&s.MaxRedeliveries} }},
	{name: "apium_max_decompressed", kind: integer, field: func(s *Settings) any { return positive{&s.MaxDecompressed} }},
	{name: "apium_max_concurrency", kind: integer, def: int64(1000), field: func(s *Settings) any { return positive{&s.MaxConcurrency} }},
	{name: "apium_park_after", kind: float, field: func(s *Settings) any { return &s.ParkAfter }},
	{name: "apium_alive_for", kind: float, def: 6.0, field: func(s *Settings) any { return &s.AliveFor }},
	{name: "apium_shutdown_timeout", kind: float, field: func(s *Settings) any { return &s.ShutdownTimeout }},
	{name: "apium_settle_timeout", kind: float, def: 5.0, field: func(s *Settings) any { return &s.SettleTimeout }},
	{name: "apium_metrics_addr", kind: text, field: func(s *Settings) any { return &s.MetricsAddr }},
	{name: "apium_database", kind: anything, field: func(s *Settings) any { return &s.Database }},
	{name: "apium_beat_database", kind: anything, field: func(s *Settings) any { return &s.BeatDatabase }},
	{name: "apium_beat_schedule_id", kind: text, field: func(s *Settings) any { return &s.BeatScheduleID }},
	{name: "apium_database_pickle", kind: boolean, def: false, field: func(s *Settings) any { return &s.DatabasePickle }},
	{name: "apium_log_format", kind: text, def: "text", field: func(s *Settings) any { return oneOf{&s.LogFormat, []string{"text", "json"}} }},
}
