package redisconn

import (
	"context"
	"fmt"
	"time"
)

// A connection can die without a word: a firewall forgets it, a host goes away. While a
// server is merely slow, new connections are slow as well; so when an answer is due and
// nothing has arrived for a while, the watchdog asks over new connections, and gives the
// old one up if that is answered twice in a row: in a process that gets little done, the first answer
// may overtake one that has long been there, while its reader waits for its turn. Until the second has come,
// that turn has come, too.
const (
	probeAfter   = 1500 * time.Millisecond // of silence
	probeTimeout = 1500 * time.Millisecond
	probeGrace   = 250 * time.Millisecond // for what the server has answered and we have not read

	// What was sent is on its way for a while on a slow link: at most a full send buffer.
	slowestLink = 256 << 10 // bytes a second
	sendBuffer  = 4 << 20
)

// watchdog watches one connection. All functions may be called from its goroutine.
type watchdog struct {
	cfg *Config

	in, out func() int64 // bytes that have arrived, and that were sent
	sending func() bool  // there is more to be sent than the network takes
	due     func() bool  // an answer is
	fail    func(error)  // the connection is no good
	tick    func()       // called now and then
}

// run looks until done is closed.
func (d *watchdog) run(done <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	probed := make(chan error, 1)
	probing := false
	defer func() {
		cancel()
		if probing {
			<-probed //nolint:errcheck // nobody asks any more
		}
	}()
	ticker := time.NewTicker(d.cfg.watchEvery())
	defer ticker.Stop()
	timeout := d.cfg.opts.SocketTimeout
	var in, out, outBefore int64 // outBefore: when something last arrived
	var answered []time.Time     // when probes were, since then
	moved := time.Now()          // when something last arrived, or left although there was more, or nothing was due
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
			d.tick()
		case err := <-probed:
			probing = false
			if err != nil {
				continue // until the next look: who is refused at once would ask again and again
			}
			answered = append(answered, time.Now())
		}
		now := time.Now()
		nowIn, nowOut, due := d.in(), d.out(), d.due()
		if nowIn != in || !due {
			outBefore = nowOut
		}
		if nowIn != in || !due || nowOut != out && d.sending() {
			moved, answered = now, nil
		}
		in, out = nowIn, nowOut
		silence := now.Sub(moved)
		patience := probeAfter + time.Duration(min(nowOut-outBefore, sendBuffer))*time.Second/slowestLink
		switch {
		case timeout > 0 && silence >= timeout:
			d.fail(fmt.Errorf("no answer for %v", timeout))
		case silence < patience:
		case len(answered) > 1:
			d.fail(fmt.Errorf("no answer for %v, although the server answers others", silence.Round(time.Millisecond)))
		case !probing && (len(answered) == 0 || now.Sub(answered[0]) >= probeGrace):
			probing = true
			doubts.Add(1)
			go func() { probed <- d.cfg.probe(ctx) }()
		}
	}
}

// watchEvery is how often watchdogs look.
func (c *Config) watchEvery() time.Duration {
	every := probeAfter / 4
	for _, d := range []time.Duration{c.opts.SocketTimeout, c.opts.HealthCheckInterval} {
		if d > 0 {
			every = min(every, max(d/4, time.Millisecond))
		}
	}
	return every
}

// probe tells whether the server in use, or the master that the Sentinels name now,
// answers a new connection.
func (c *Config) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	e, err := c.master(ctx)
	if err != nil {
		return err
	}
	conn, err := c.dialEndpoint(ctx, e, nil)
	if err != nil {
		return err
	}
	return conn.Close()
}
