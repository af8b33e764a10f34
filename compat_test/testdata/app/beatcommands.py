"""Gives options to celery beat, each time in a fork of this process: standard input has a JSON list of [directory to be in, options].

Prints a JSON list of [exit status, or "starts", output]. A beat that starts is killed.
"""
import json
import os
import signal
import sys

from celery.bin.celery import main
from celery.bin import beat  # noqa: F401 - so that no fork has to import it

import tapp  # noqa: F401


def run(directory, options):
    reads, writes = os.pipe()
    pid = os.fork()
    if not pid:
        os.chdir(directory)
        sys.path.insert(0, directory)
        sys.argv = ["celery", "-A", "tapp", "beat", "-l", "info", *options]
        for fd in (1, 2):
            os.dup2(writes, fd)
        os.close(writes)
        sys.exit(main())
    os.close(writes)
    output, starts = b"", False
    while data := os.read(reads, 65536):
        output += data
        if b"beat: Starting..." in output and not starts:
            os.kill(pid, signal.SIGKILL)
            starts = True
    os.close(reads)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return ["starts" if starts else status, output.decode()]


if __name__ == "__main__":
    commands = json.load(sys.stdin)
    print(json.dumps([run(*command) for command in commands]))
