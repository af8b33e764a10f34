// Package amqpbroker is a broker.Consumer and broker.Publisher on RabbitMQ.
package amqpbroker
