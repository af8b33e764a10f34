package rabbittest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// socketName is the Unix socket, in the server's directory, on which it evaluates.
const socketName = "eval"

// evaluator is an Erlang expression that listens on a Unix socket, once RabbitMQ runs, for
// expressions to evaluate. Each, and its answer, has its length before it in four bytes; an
// answer begins with "+" or, if it is an error, with "-".
func (s *Server) evaluator() string {
	return fmt.Sprintf(`spawn(fun() ->
  {ok, L} = gen_tcp:listen(0, [binary, {packet, 4}, {active, false}, {ifaddr, {local, %q}}]),
  Answer = fun(Text) ->
    try
      {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Text)),
      {ok, Forms} = erl_parse:parse_exprs(Tokens),
      case erl_eval:exprs(Forms, []) of
        {value, V, _} when is_binary(V) -> ["+", V];
        {value, V, _} -> ["+", unicode:characters_to_binary(io_lib:format("~0tp", [V]))]
      end
    catch Class:Reason -> ["-", unicode:characters_to_binary(io_lib:format("~0tp: ~0tp", [Class, Reason]))]
    end
  end,
  Serve = fun Serve(S) ->
    case gen_tcp:recv(S, 0) of
      {ok, Text} -> ok = gen_tcp:send(S, Answer(Text)), Serve(S);
      _ -> gen_tcp:close(S)
    end
  end,
  (fun Accept() ->
    {ok, S} = gen_tcp:accept(L),
    Pid = spawn(fun() -> receive go -> Serve(S) end end),
    gen_tcp:controlling_process(S, Pid), Pid ! go, Accept()
  end)()
end).`, filepath.Join(s.dir, socketName))
}

// Eval evaluates Erlang in the server, without the full stop at its end, and returns the value as
// Erlang prints it; a binary's own bytes. It fails the test if that raises an error.
func (s *Server) Eval(tb testing.TB, expression string) string {
	tb.Helper()
	answer, err := s.evaluate(expression)
	if err != nil {
		tb.Fatalf("rabbittest: %v", err)
	}
	return answer
}

// eval is Eval of what fmt.Sprintf makes.
func (s *Server) eval(tb testing.TB, format string, args ...any) string {
	tb.Helper()
	return s.Eval(tb, fmt.Sprintf(format, args...))
}

// evalJSON evaluates what makes a list or map, and reads it.
func (s *Server) evalJSON(tb testing.TB, into any, format string, args ...any) {
	tb.Helper()
	answer := s.eval(tb, "rabbit_json:encode("+format+")", args...)
	if err := json.Unmarshal([]byte(answer), into); err != nil {
		tb.Fatalf("rabbittest: %v: %s", err, answer)
	}
}

// evaluate takes a connection of its own, so that it works across restarts.
func (s *Server) evaluate(expression string) (string, error) {
	conn, err := net.Dial("unix", filepath.Join(s.dir, socketName))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	message := binary.BigEndian.AppendUint32(nil, uint32(len(expression)+1))
	if _, err := conn.Write(append(append(message, expression...), '.')); err != nil {
		return "", err
	}
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return "", err
	}
	answer := make([]byte, binary.BigEndian.Uint32(length[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return "", err
	}
	if failed, ok := bytes.CutPrefix(answer, []byte("-")); ok {
		return "", fmt.Errorf("%s: %s", expression, failed)
	}
	return string(answer[1:]), nil
}

// answers tells whether RabbitMQ has started.
func (s *Server) answers() bool {
	answer, err := s.evaluate("rabbit:is_running()")
	return err == nil && answer == "true"
}

// text is a Go string as an Erlang binary.
func text(s string) string {
	list := make([]string, 0, len(s))
	for _, b := range []byte(s) {
		list = append(list, fmt.Sprint(b))
	}
	return "<<" + strings.Join(list, ",") + ">>"
}
