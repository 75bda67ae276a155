# As much of a MongoDB server as a driver needs to find it and ping it: it says hello, and ok to everything else.
#
# PORT: where it listens, on loopback.

import datetime
import socketserver
import struct
import sys

import bson

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013


def answer():
    return bson.encode(
        {
            "ok": 1.0,
            "ismaster": True,
            "isWritablePrimary": True,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "maxBsonObjectSize": 16777216,
            "maxMessageSizeBytes": 48000000,
            "maxWriteBatchSize": 100000,
            "localTime": datetime.datetime.now(datetime.timezone.utc),
        }
    )


class Talk(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(16):
            length, request, _, kind = struct.unpack("<iiii", head)
            self.rfile.read(length - 16)
            if kind == OP_MSG:
                kind, body = OP_MSG, struct.pack("<iB", 0, 0) + answer()
            else:
                kind, body = OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + answer()
            self.wfile.write(struct.pack("<iiii", 16 + len(body), 0, request, kind) + body)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", int(sys.argv[1])), Talk) as server:
    server.serve_forever()
