"""One client: a session, a node, a read of it.  usage: session.py PORT"""
import socket
import struct
import sys


def frame(body):
    return struct.pack(">i", len(body)) + body


def reply(stream):
    def exactly(count):
        data = b""
        while len(data) < count:
            part = stream.recv(count - len(data))
            assert part, "the server closed the connection"
            data += part
        return data
    return exactly(struct.unpack(">i", exactly(4))[0])


def text(value):
    return struct.pack(">i", len(value)) + value


stream = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30)
stream.sendall(frame(struct.pack(">iqiqi", 0, 0, 30000, 0, 16) + bytes(16) + b"\0"))
reply(stream)
acl = struct.pack(">ii", 1, 31) + text(b"world") + text(b"anyone")
stream.sendall(frame(struct.pack(">ii", 1, 1) + text(b"/made") + text(b"data") + acl + struct.pack(">i", 0)))
assert struct.unpack(">iqi", reply(stream)[:16])[2] == 0, "create failed"
stream.sendall(frame(struct.pack(">ii", 2, 4) + text(b"/made") + b"\1"))
assert b"data" in reply(stream), "getData did not bring what create wrote"
stream.sendall(frame(struct.pack(">ii", 3, -11)))
reply(stream)
