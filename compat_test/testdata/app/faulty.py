"""Tasks that do to their process, and to those beside it, what no task should."""
import os
import signal
import socket
import stat
import sys
import time

from celery import Celery

app = Celery("faulty", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])


@app.task
def pid():
    return os.getpid()


@app.task
def shout(megabytes):
    """Fills stdout and stderr, also by way of Celery's log."""
    text = b"x" * (1 << 16)
    for _ in range(megabytes * 8):
        os.write(1, text)
        os.write(2, text)
    for _ in range(megabytes * 10):
        print("x" * 10000)
    return os.getpid()


@app.task(time_limit=1)
def shout_on():
    while True:
        os.write(1, b"x" * (1 << 16))


@app.task
def daemonize():
    """Leaves a process behind that keeps all that this one has open, and ends."""
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, b"%d" % os.getpid())
            time.sleep(600)
        os._exit(0)
    os.wait()
    print("left behind: %s." % os.read(read, 20).decode(), flush=True)
    os._exit(3)


@app.task
def fork_and_return():
    """Both processes return: the other one a moment later, as a rule."""
    parent = os.getpid()
    if os.fork() == 0:
        time.sleep(0.1)
    return os.getpid() == parent


@app.task
def fork_and_exit():
    if os.fork() == 0:
        sys.exit(0)
    os.wait()
    return True


@app.task
def close_all():
    os.closerange(3, 1024)


@app.task
def garbage():
    """Writes what the worker cannot read wherever something is connected."""
    for fd in range(3, 256):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket.socket(fileno=os.dup(fd)) as sock:
                    if sock.family == socket.AF_UNIX:
                        sock.sendall(b"\xff" * 4096)
        except OSError:
            pass
    time.sleep(600)


@app.task(time_limit=0.5)
def freeze():
    os.kill(os.getpid(), signal.SIGSTOP)


@app.task(time_limit=0.5)
def deaf():
    """Hears of no signal that can be ignored."""
    for signum in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(signum, signal.SIG_IGN)
    while True:
        time.sleep(1)
