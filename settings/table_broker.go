package settings

// brokerEntries are the settings broker_*.
var brokerEntries = []entry{
	{name: "broker_url", kind: text, field: func(s *Settings) any { return urls{&s.BrokerURL} }},
	{name: "broker_read_url", kind: text, field: func(s *Settings) any { return urls{&s.BrokerReadURL} }},
	{name: "broker_write_url", kind: text, field: func(s *Settings) any { return urls{&s.BrokerWriteURL} }},
	{name: "broker_transport", kind: text, field: func(s *Settings) any { return &s.BrokerTransport }},
	{name: "broker_transport_options", kind: mapping, def: object{}, field: func(s *Settings) any { return &s.BrokerTransportOptions }},
	{name: "broker_connection_timeout", kind: float, def: int64(4), ours: true, field: func(s *Settings) any { return &s.BrokerConnectionTimeout }},
	{name: "broker_connection_retry", kind: boolean, def: true, field: func(s *Settings) any { return &s.BrokerConnectionRetry }},
	{name: "broker_connection_retry_on_startup", kind: boolean, field: func(s *Settings) any { return &s.BrokerConnectionRetryOnStartup }},
	{name: "broker_connection_max_retries", kind: integer, def: int64(100), field: func(s *Settings) any { return positive{&s.BrokerConnectionMaxRetries} }},
	{name: "broker_failover_strategy", kind: text, field: func(s *Settings) any { return oneOf{&s.BrokerFailoverStrategy, []string{"round-robin", "shuffle"}} }},
	{name: "broker_use_ssl", kind: boolean, def: false, field: func(s *Settings) any { return tlsOptions{&s.BrokerUseSSL} }},
	{name: "broker_host", kind: text, field: func(s *Settings) any { return &s.BrokerHost }},
	{name: "broker_port", kind: integer, field: func(s *Settings) any { return &s.BrokerPort }},
	{name: "broker_user", kind: text, field: func(s *Settings) any { return &s.BrokerUser }},
	{name: "broker_password", kind: text, field: func(s *Settings) any { return &s.BrokerPassword }},
	{name: "broker_vhost", kind: text, field: func(s *Settings) any { return &s.BrokerVhost }},

	{name: "broker_channel_error_retry", kind: boolean, def: false, elsewhere: "errors of a channel never end a worker"},
	{name: "broker_heartbeat", kind: integer, def: int64(120), field: func(s *Settings) any { return &s.BrokerHeartbeat }},
	{name: "broker_heartbeat_checkrate", kind: integer, def: 3.0, elsewhere: "heartbeats have a goroutine of their own"},
	{name: "broker_login_method", kind: text, field: func(s *Settings) any { return loginMethod{&s.BrokerLoginMethod} }},
	{name: "broker_native_delayed_delivery_queue_type", kind: text, def: "quorum", field: func(s *Settings) any { return oneOf{&s.BrokerNativeDelayedDeliveryQueueType, queueTypes} }},
	{name: "broker_pool_limit", kind: integer, def: int64(10), field: func(s *Settings) any { return orNone{&s.BrokerPoolLimit} }},
	{name: "broker_pool_acquire_timeout", kind: float, ignored: "a handful of connections is shared"},
}
