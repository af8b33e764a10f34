package settings

// extensionEntries are the settings of RedBeat and django-celery-beat.
var extensionEntries = []entry{
	{name: "redbeat_redis_url", kind: text, unlisted: true, field: func(s *Settings) any { return &s.RedBeatRedisURL }},
	{name: "redbeat_redis_use_ssl", kind: anything, unlisted: true, field: func(s *Settings) any { return tlsOptions{&s.RedBeatRedisUseSSL} }},
	{name: "redbeat_redis_options", kind: mapping, unlisted: true, field: func(s *Settings) any { return connectionOptions{&s.RedBeatRedisOptions} }},
	{name: "redbeat_key_prefix", kind: text, def: "redbeat:", unlisted: true, field: func(s *Settings) any { return &s.RedBeatKeyPrefix }},
	{name: "redbeat_lock_key", kind: text, ours: true, unlisted: true, field: func(s *Settings) any { return lockKey{&s.RedBeatLockKey} }},
	{name: "redbeat_lock_timeout", kind: float, unlisted: true, field: func(s *Settings) any { return &s.RedBeatLockTimeout }},
	{name: "django_celery_beat_tz_aware", kind: boolean, def: true, unlisted: true, field: func(s *Settings) any { return &s.DjangoCeleryBeatTZAware }},
}
