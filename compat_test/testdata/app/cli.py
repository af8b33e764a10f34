"""Runs celery's command line, imported once: argument lists on stdin as JSON, [status, stdout, stderr] of each on stdout."""
import json
import os
import sys
import tempfile

import celery.bin.celery  # noqa: F401  the slow part
from celery.__main__ import main


def run(args):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            sys.argv = ["celery"] + args
            status = 1
            try:
                main()
                status = 0
            except SystemExit as exc:
                status = exc.code or 0
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        err.seek(0)
        return [status, out.read().decode(), err.read().decode()]


json.dump([run(args) for args in json.load(sys.stdin)], sys.stdout)
