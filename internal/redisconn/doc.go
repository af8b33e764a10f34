// Package redisconn reaches Redis: it reads Celery's URLs, dials plain, TLS and
// Sentinel connections with redigo, and shares one pipelined connection among
// many goroutines.
package redisconn
