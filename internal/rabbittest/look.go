package rabbittest

import (
	"testing"
)

// Queue is what the server says of a queue at this moment.
type Queue struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"` // "classic" or "quorum"
	Durable    bool           `json:"durable"`
	AutoDelete bool           `json:"auto_delete"`
	Exclusive  bool           `json:"exclusive"`
	Arguments  map[string]any `json:"arguments"`
	Consumers  int            `json:"consumers"`
	Ready      int            `json:"ready"`   // messages that wait
	Unacked    int            `json:"unacked"` // messages that consumers hold
}

// Queues returns the virtual host's queues by name.
func (v *VHost) Queues(tb testing.TB) map[string]Queue {
	tb.Helper()
	var list []Queue
	v.server.evalJSON(tb, &list, queuesExpression, text(v.Name))
	queues := map[string]Queue{}
	for _, q := range list {
		queues[q.Name] = q
	}
	return queues
}

// queuesExpression asks the queues themselves: what a quorum queue says of its length otherwise is
// up to five seconds old. One that ends meanwhile is left out.
const queuesExpression = `lists:append([
  try
    Pid = amqqueue:get_pid(Q),
    Type = case amqqueue:get_type(Q) of rabbit_quorum_queue -> quorum; rabbit_classic_queue -> classic; T -> T end,
    {Ready, Unacked, Consumers} = case Type of
      quorum ->
        {ok, Counts, _} = ra:consistent_query(Pid, fun(S) ->
          {rabbit_fifo:query_messages_ready(S), rabbit_fifo:query_messages_checked_out(S), rabbit_fifo:query_consumer_count(S)} end),
        Counts;
      classic ->
        I = rabbit_amqqueue:info(Q, [messages_ready, messages_unacknowledged, consumers]),
        {proplists:get_value(messages_ready, I), proplists:get_value(messages_unacknowledged, I), proplists:get_value(consumers, I)}
    end,
    Arguments = maps:from_list([{K, case A of L when is_list(L) -> <<"(list)">>; _ -> A end} || {K, _, A} <- amqqueue:get_arguments(Q)]),
    {resource, _, queue, Name} = amqqueue:get_name(Q),
    [#{name => Name, type => Type, durable => amqqueue:is_durable(Q), auto_delete => amqqueue:is_auto_delete(Q),
       exclusive => is_pid(amqqueue:get_exclusive_owner(Q)), arguments => Arguments, consumers => Consumers, ready => Ready, unacked => Unacked}]
  catch _:_ -> []
  end || Q <- rabbit_amqqueue:list(%s)])`

// Prefetch is how many messages all consumers of a classic queue together may hold by their own limits.
func (v *VHost) Prefetch(tb testing.TB, queue string) (n int) {
	tb.Helper()
	v.server.evalJSON(tb, &n, `begin {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(%s, queue, %s)),
  lists:sum([element(4, C) || C <- rabbit_amqqueue:consumers(Q)]) end`, text(v.Name), text(queue))
	return n
}

// Binding is one binding. Those of queues to the default exchange are left out.
type Binding struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Kind        string `json:"kind"` // of the destination: "queue" or "exchange"
	Key         string `json:"key"`
}

// Bindings returns the virtual host's bindings.
func (v *VHost) Bindings(tb testing.TB) []Binding {
	tb.Helper()
	var list []Binding
	v.server.evalJSON(tb, &list, `[#{source => Source, key => Key, kind => Kind, destination => Name} ||
  {binding, {resource, _, exchange, Source}, Key, {resource, _, Kind, Name}, _} <- rabbit_binding:list(%s), Source =/= <<>>]`, text(v.Name))
	return list
}

// Connection is a client's connection.
type Connection struct {
	User     string `json:"user"`
	Channels int    `json:"channels"`
	State    string `json:"state"` // "running", "blocking", "blocked", …
	// Heartbeat is what client and server have agreed on, in seconds; 0: none.
	Heartbeat int `json:"timeout"`
}

// Connections returns the connections to the virtual host.
func (v *VHost) Connections(tb testing.TB) []Connection {
	tb.Helper()
	var list []Connection
	v.server.evalJSON(tb, &list, `lists:append([
  try
    I = rabbit_networking:connection_info(P, [user, channels, state, timeout, vhost]),
    [#{user => proplists:get_value(user, I), channels => proplists:get_value(channels, I), state => proplists:get_value(state, I),
       timeout => proplists:get_value(timeout, I)} || proplists:get_value(vhost, I) =:= %s]
  catch _:_ -> []
  end || P <- rabbit_networking:connections()])`, text(v.Name))
	return list
}
