package redistest_test

import (
	"testing"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redistest"
)

func TestRestartKeepsOnlyWhatWasSaved(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	addr := s.Addr()
	s.Do(t, "SET", "kept", "1")
	s.Save(t)
	s.Do(t, "SET", "lost", "1")
	s.Stop()
	if _, err := redis.Dial("tcp", addr); err == nil {
		t.Fatal("a stopped server accepts connections")
	}
	s.Restart(t)
	if s.Addr() != addr {
		t.Fatalf("restarted on %s, was on %s", s.Addr(), addr)
	}
	if n, _ := redis.Int(s.Do(t, "EXISTS", "kept", "lost"), nil); n != 1 {
		t.Fatalf("%d of 2 keys are there after the restart, want the saved one", n)
	}
	s.Forget(t)
	s.Restart(t)
	if n, _ := redis.Int(s.Do(t, "DBSIZE"), nil); n != 0 {
		t.Fatalf("%d keys after Forget and Restart", n)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, redistest.Password("secret"), redistest.Redis32())
	conn := s.Dial(t, 3)
	if _, err := conn.Do("LMOVE", "a", "b", "LEFT", "RIGHT"); err == nil {
		t.Fatal("LMOVE exists")
	}
	if _, err := redis.DialURL(s.URL(2)); err != nil {
		t.Fatalf("%s: %v", s.URL(2), err)
	}
}

func TestReplicaIsReadOnly(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	replica := redistest.Start(t, redistest.ReplicaOf(master))
	if _, err := replica.Dial(t, 0).Do("SET", "a", "b"); err == nil {
		t.Fatal("the replica can be written to")
	}
}
