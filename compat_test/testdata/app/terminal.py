"""Runs a program on a terminal, and copies what it writes there.

    python terminal.py PROGRAM [ARGUMENT ...]
"""
import os
import signal
import subprocess
import sys

ours, theirs = os.openpty()
program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
os.close(theirs)
signal.signal(signal.SIGTERM, lambda *_: program.terminate())
while True:
    try:
        text = os.read(ours, 1 << 16)
    except OSError:  # the program has ended
        break
    os.write(1, text)
sys.exit(program.wait())
