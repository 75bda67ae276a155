"""SOCKS5 (RFC 1928, RFC 1929) over TLS by hand, to the proxy PROXY: one tunnel for each base URL given.

The host is sent as a name, or with ADDRESS as that IP address.
"""

import ipaddress
import os
import socket
import ssl
import sys
from urllib.parse import urlsplit

from urllib3.util.ssltransport import SSLTransport

from errand import over

trust = ssl.create_default_context(cafile=os.environ["CA"])
proxy = urlsplit(os.environ["PROXY"])


def exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError(f"closed after {data!r}")
        data += piece
    return data


def host_field(host):
    try:
        address = ipaddress.ip_address(os.environ.get("ADDRESS", host))
    except ValueError:
        return b"\x03" + bytes([len(host)]) + host.encode()
    return (b"\x01" if address.version == 4 else b"\x04") + address.packed


def tunnel(host, port):
    sock = trust.wrap_socket(socket.create_connection((proxy.hostname, proxy.port), 60), server_hostname=proxy.hostname)
    assert sock.version() == "TLSv1.3", sock.version()
    user, password = proxy.username.encode(), proxy.password.encode()
    sock.sendall(b"\x05\x01\x02")
    assert exactly(sock, 2) == b"\x05\x02"
    sock.sendall(b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password)
    assert exactly(sock, 2) == b"\x01\x00"
    sock.sendall(b"\x05\x01\x00" + host_field(host) + port.to_bytes(2, "big"))
    reply = exactly(sock, 4)
    assert reply[:2] == b"\x05\x00", reply
    exactly(sock, 18 if reply[3] == 4 else 6)
    return sock


for base in sys.argv[1:]:
    url = urlsplit(base)
    sock = tunnel(url.hostname, url.port)
    if url.scheme == "https":
        sock = SSLTransport(sock, trust, server_hostname=url.hostname)
    over(sock, url.netloc)
