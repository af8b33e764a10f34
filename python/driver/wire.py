"""What passes between the Python processes and the Go worker."""
import errno
import json
import os
import socket
import struct

from apium_driver import unpatched

CONTROL_FD = 3
LENGTH = struct.Struct(">I")
FRAME = struct.Struct(">IQI")  # length of all that follows, number of the job, length of the head
AFTER_LENGTH = FRAME.size - LENGTH.size


class Control(object):
    """The fork server's socket: a JSON object a line. Descriptors come along with lines."""

    def __init__(self, fd):
        self.sock = unpatched.socket(fileno=fd)
        self.sock.setblocking(True)
        self.rest = b""
        self.fds = []

    def send(self, **message):
        self.sock.sendall(json.dumps(message).encode() + b"\n")

    def receive(self):
        """Returns the messages that have arrived; None when the other side is gone."""
        data, ancillary, _, _ = self.sock.recvmsg(1 << 16, socket.CMSG_SPACE(4 * 16))
        for level, kind, raw in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                count = len(raw) // 4
                for fd in struct.unpack("%di" % count, raw[:4 * count]):
                    os.set_inheritable(fd, False)  # a program that a task starts is none of ours
                    self.fds.append(fd)
        if not data:
            return None
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        return [json.loads(line.decode()) for line in lines]

    def taken(self):
        """Returns the descriptors that came along with the last line that had any: two lines with
        descriptors are never received at once."""
        fds, self.fds = self.fds, []
        return fds


def identity(fd):
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


class Frames(object):
    """A child's socket: frames of a head, which is JSON, and a body."""

    AT_ONCE = 1 << 16

    def __init__(self, fd):
        self.sock = socket.socket(fileno=fd)
        self.sock.setblocking(True)
        self.fd, self.same = fd, identity(fd)
        self.rest = b""  # what has come of the next frame, or more
        self.decode = json.JSONDecoder().raw_decode

    def receive(self):
        """Returns number, head and body of the next job; None when there are no more."""
        data = self.rest or self.sock.recv(self.AT_ONCE)
        while len(data) < FRAME.size:
            more = self.sock.recv(self.AT_ONCE)
            if not more:
                return None
            data += more
        length, job, head = FRAME.unpack_from(data)
        end = length + LENGTH.size
        if len(data) < end:
            data = self.complete(data, end)
            if data is None:
                return None
        self.rest = data[end:]
        text = data[FRAME.size:FRAME.size + head].decode("utf-8", "surrogatepass")
        return job, self.decode(text)[0], data[FRAME.size + head:end]

    def complete(self, data, size):
        """Returns the whole of a frame that has only come in part; None when there is no more of it."""
        whole = bytearray(size)
        whole[:len(data)] = data
        with memoryview(whole) as view:
            at = len(data)
            while at < size:
                more = self.sock.recv_into(view[at:])
                if not more:
                    return None
                at += more
        return bytes(whole)

    def send(self, job, head, body=b""):
        if identity(self.fd) != self.same:  # a task has closed it, and may have opened something else since
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        text = json.dumps(head).encode()
        self.sock.sendall(b"".join((FRAME.pack(AFTER_LENGTH + len(text) + len(body), job, len(text)), text, body)))
