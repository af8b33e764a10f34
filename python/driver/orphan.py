"""Ends a process that is busy loading the app when the Go worker has ended."""
import os
import sys

from apium_driver import unpatched


class Watch(object):
    """Looks, until it is ended, whether the other side of a socket is still there.

    On Linux the kernel does that. Elsewhere a thread does, and it has ended before anything is
    forked. It uses what gevent and eventlet do not replace.
    """

    def __init__(self, sock, needed=not sys.platform.startswith("linux")):
        self.sock, self.needed = sock, needed
        if needed:
            self.ended, self.end_it = os.pipe()
            self.running = unpatched.allocate_lock()
            self.running.acquire()
            self.release = self.running.release
            unpatched.start_new_thread(self.watch, ())

    def watch(self):
        ready = unpatched.select([self.sock.fileno(), self.ended], [], [])[0]
        if self.ended not in ready:  # nothing is sent before the app is loaded: this is the end
            os._exit(1)
        self.release()

    def end(self):
        if self.needed:
            os.write(self.end_it, b".")
            self.running.acquire()
            os.close(self.ended)
            os.close(self.end_it)
