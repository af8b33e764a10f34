// Package rabbitmemory is a RabbitMQ in memory, for tests: what a broker, publishers and workers of this program see of AMQP 0-9-1, over
// connections that somebody else makes. Its timers are the process's: in a bubble of testing/synctest its time is that of the bubble.
//
// It does what broker/amqpbroker asks of a RabbitMQ, and is held to that by the tests of package brokertest, which a real one passes, too. One
// user may do everything in one virtual host, whatever password and host are given. Deliberately not there:
//
//   - rights, alarms (connection.blocked), flow control, policies, the management plugin;
//   - anything on disk: a server that is closed has lost everything;
//   - headers exchanges, exchanges that delete themselves, alternate exchanges, bindings with arguments;
//   - priorities of messages and consumers, single active consumers, lengths and limits of queues, x-delivery-limit, streams;
//   - how a quorum queue loses its leader, or a dead letter waits for a queue that is not there: it is dropped;
//   - basic.recover, a prefetch for a whole channel, tx.rollback, a frame_max that a client lowers.
//
// What a channel does all others see at once. RabbitMQ has a process for each connection, channel and queue, which hear of one another in time: where
// that matters most, at the end of a channel, [Options] has a queue learn of it later than another one.
package rabbitmemory
