"""Moves the clock of Celery's beat: it begins at CLOCK_FROM, moves while beat sleeps, and by a millisecond (or CLOCK_LOOK seconds)
whenever it looks at its schedule. Beat wakes up ten milliseconds early and looks again and again; so a sleep lasts that much longer
here, and one look is enough. The beat ends at CLOCK_UNTIL, by SIGKILL if CLOCK_KILLS is set. What imports this and is no beat
stays at CLOCK_FROM.
"""
import os
import signal
from datetime import datetime
from types import SimpleNamespace

from celery import beat

if "CLOCK_FROM" in os.environ:
    import time_machine

    clock = time_machine.travel(datetime.fromisoformat(os.environ["CLOCK_FROM"].replace("Z", "+00:00")), tick=False).start()
    until = datetime.fromisoformat(os.environ["CLOCK_UNTIL"].replace("Z", "+00:00")).timestamp()
    look = float(os.environ.get("CLOCK_LOOK", 0.001))

    def move(seconds):
        clock.shift(seconds)
        if beat.time.time() >= until:
            if "CLOCK_KILLS" in os.environ:
                os.kill(os.getpid(), signal.SIGKILL)
            raise SystemExit

    def tick(*args, original=beat.Scheduler.tick, **kwargs):
        move(look)
        return original(*args, **kwargs)

    beat.time = SimpleNamespace(**{**vars(beat.time), "sleep": lambda seconds: move(seconds + 0.01)})
    beat.Scheduler.tick = tick
