"""HTTP/2 to the proxy PROXY over one connection: plain requests on streams for http:// bases, CONNECT for https://."""

import base64
import io
import os
import socket
import ssl
import sys
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events

from errand import UPLOAD, over, report

trust = ssl.create_default_context(cafile=os.environ["CA"])
proxy = urlsplit(os.environ["PROXY"])
AUTHORIZATION = "Basic " + base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()


class Connection:
    def __init__(self):
        context = ssl.create_default_context(cafile=os.environ["CA"])
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection((proxy.hostname, proxy.port), 60)
        self.sock = context.wrap_socket(raw, server_hostname=proxy.hostname)
        assert self.sock.selected_alpn_protocol() == "h2"
        # Its validation knows no CONNECT, which has neither scheme nor path (RFC 9113, 8.5).
        config = h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.flush()
        self.status, self.data, self.ended = {}, {}, set()

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def more(self):
        received = self.sock.recv(65536)
        if not received:
            raise EOFError("the proxy closed the connection")
        for event in self.h2.receive_data(received):
            if isinstance(event, h2.events.ResponseReceived):
                self.status[event.stream_id] = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                self.data[event.stream_id] += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                raise EOFError(repr(event))
        self.flush()

    def open(self, headers, end):
        stream = self.h2.get_next_available_stream_id()
        self.data[stream] = b""
        self.h2.send_headers(stream, [*headers, ("proxy-authorization", AUTHORIZATION)], end_stream=end)
        self.flush()
        return stream

    def send(self, stream, data, end=False):
        while data:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room == 0:
                self.more()
                continue
            self.h2.send_data(stream, data[:room])
            data = data[room:]
            self.flush()
        if end:
            self.h2.end_stream(stream)
            self.flush()

    def wait_status(self, stream):
        while stream not in self.status:
            self.more()
        return self.status[stream]

    def body(self, stream):
        while stream not in self.ended:
            self.more()
        return self.data[stream]


class Tunnel:
    """TLS to the destination over a CONNECT stream; as a socket, as far as http.client needs one."""

    def __init__(self, connection, url):
        self.connection = connection
        self.stream = connection.open([(":method", "CONNECT"), (":authority", url.netloc)], end=False)
        status = connection.wait_status(self.stream)
        assert status == 200, status
        self.received, self.to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = trust.wrap_bio(self.received, self.to_send, server_hostname=url.hostname)
        self.step(self.tls.do_handshake)

    def step(self, action, *arguments):
        """Acts, and carries whatever TLS wants carried, until it is done."""
        while True:
            try:
                result = action(*arguments)
            except ssl.SSLWantReadError:
                result = None
            self.connection.send(self.stream, self.to_send.read())
            if result is not None or action == self.tls.do_handshake and self.tls.version():
                return result
            self.feed()

    def feed(self):
        connection = self.connection
        while not connection.data[self.stream] and self.stream not in connection.ended:
            connection.more()
        if connection.data[self.stream]:
            self.received.write(connection.data[self.stream])
            connection.data[self.stream] = b""
        else:
            self.received.write_eof()

    def sendall(self, data):
        view = memoryview(data)
        while view:
            view = view[self.step(self.tls.write, view) :]

    def makefile(self, mode):
        return io.BufferedReader(Reader(self))

    def close(self):
        self.connection.send(self.stream, b"", end=True)
        self.connection.body(self.stream)


class Reader(io.RawIOBase):
    def __init__(self, tunnel):
        self.tunnel = tunnel

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self.tunnel.step(self.tunnel.tls.read, len(buffer))
        buffer[: len(data)] = data
        return len(data)


def plain(connection, url):
    """All requests are open at once, on streams of their own."""
    asked = []
    for method, path, body in (
        ("GET", "/hello", None),
        ("GET", "/hello", None),
        ("GET", "/bytes/1000000", None),
        ("POST", "/upload", UPLOAD),
    ):
        head = [(":method", method), (":scheme", "http"), (":authority", url.netloc), (":path", path)]
        asked.append((connection.open(head, end=body is None), method, path, body))
    for stream, _, _, body in asked:
        if body:
            connection.send(stream, body, end=True)
    for stream, method, path, _ in asked:
        report(method, path, connection.wait_status(stream), connection.body(stream))


connection = Connection()
for base in sys.argv[1:]:
    url = urlsplit(base)
    if url.scheme == "http":
        plain(connection, url)
    else:
        over(Tunnel(connection, url), url.netloc)
