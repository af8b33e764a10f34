package rabbittest

import (
	"fmt"
	"testing"
	"time"
)

// Alarm raises the memory alarm until [Server.Calm], or the end of the test: connections that publish are blocked.
func (s *Server) Alarm(tb testing.TB) {
	tb.Helper()
	s.Eval(tb, "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})")
	tb.Cleanup(func() {
		_, _ = s.evaluate(calm) // a server that has ended has no alarm
	})
}

const calm = "rabbit_alarm:clear_alarm({resource_limit, memory, node()})"

// Calm ends the memory alarm.
func (s *Server) Calm(tb testing.TB) { tb.Helper(); s.Eval(tb, calm) }

// ConsumerTimeout has the channels that are opened from now on close when a delivery is not
// acknowledged within some time, which they look at once a second. On the shared server it concerns other tests, too.
func (s *Server) ConsumerTimeout(tb testing.TB, d time.Duration) {
	tb.Helper()
	s.eval(tb, "application:set_env(rabbit, consumer_timeout, %d), application:set_env(rabbit, channel_tick_interval, 1000)", d.Milliseconds())
}

// DeliveryLimit has the quorum queues of the virtual host drop a message that has gone back more often than that.
func (v *VHost) DeliveryLimit(tb testing.TB, n int) {
	tb.Helper()
	if answer := v.server.eval(tb, `rabbit_policy:set(%s, <<"limit">>, <<".*">>, [{<<"delivery-limit">>, %d}], 0, <<"queues">>, <<"test">>)`, text(v.Name), n); answer != "ok" {
		tb.Fatalf("rabbittest: a delivery limit: %s", answer)
	}
}

// CloseConnections has the server close the connections to the virtual host in order (320), waits until they are closed, and
// returns how many there were.
func (v *VHost) CloseConnections(tb testing.TB) (n int) {
	tb.Helper()
	v.server.evalJSON(tb, &n, awaitEnds(`fun(P) -> catch rabbit_networking:close_connection(P, "closed by a test") end`, fmt.Sprintf(`[P || P <- rabbit_networking:connections(),
  try proplists:get_value(vhost, rabbit_networking:connection_info(P, [vhost])) =:= %s catch _:_ -> false end]`, text(v.Name))))
	return n
}

// CloseChannels has the server close with an error (406) every channel that consumes in the virtual host, as if its client
// had acknowledged what it was not given. It waits until they are closed, and returns how many there were.
func (v *VHost) CloseChannels(tb testing.TB) (n int) {
	tb.Helper()
	v.server.evalJSON(tb, &n, awaitEnds(`fun(C) -> rabbit_channel:do(C, {'basic.ack', 1 bsl 60, false}) end`,
		fmt.Sprintf(`lists:usort([C || Q <- rabbit_amqqueue:list(%s), {C, _, _, _, _, _, _, _} <- rabbit_amqqueue:consumers(Q)])`, text(v.Name))))
	return n
}

// awaitEnds is an expression that has something end processes, some of which may end by themselves, and waits for that.
func awaitEnds(end, processes string) string {
	return fmt.Sprintf(`begin
  Processes = %s, Ends = [erlang:monitor(process, P) || P <- Processes],
  lists:foreach(%s, Processes),
  lists:foreach(fun(E) -> receive {'DOWN', E, process, _, _} -> ok after 30000 -> erlang:demonitor(E, [flush]) end end, Ends),
  length(Processes) end`, processes, end)
}

// DeleteQueue deletes a queue with what is in it: its consumers are cancelled.
func (v *VHost) DeleteQueue(tb testing.TB, name string) {
	tb.Helper()
	v.server.eval(tb, `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(%s, queue, %s)), {ok, _} = rabbit_amqqueue:delete(Q, false, false, <<"test">>)`,
		text(v.Name), text(name))
}

// DeleteExchange deletes an exchange.
func (v *VHost) DeleteExchange(tb testing.TB, name string) {
	tb.Helper()
	if answer := v.server.eval(tb, `rabbit_exchange:delete(rabbit_misc:r(%s, exchange, %s), false, <<"test">>)`, text(v.Name), text(name)); answer != "ok" {
		tb.Fatalf("rabbittest: deleting exchange %s: %s", name, answer)
	}
}

// KillLeader kills the process that leads a quorum queue. Another one follows.
func (v *VHost) KillLeader(tb testing.TB, name string) {
	tb.Helper()
	v.server.eval(tb, `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(%s, queue, %s)), {Leader, _} = amqqueue:get_pid(Q), exit(whereis(Leader), kill)`, text(v.Name), text(name))
}
