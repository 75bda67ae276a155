"""What every client is sent for, and how it reports: method, path, status, SHA-256 of the body."""

import hashlib
import http.client

UPLOAD = b"moorgate" * 125_000


def report(method, path, status, body):
    print(method, path, status, hashlib.sha256(body).hexdigest(), flush=True)


def over(sock, authority):
    """The errand in HTTP/1.1 over a socket that is connected already."""
    connection = http.client.HTTPConnection(authority)
    connection.sock = sock
    for method, path, body in (
        ("GET", "/hello", None),
        ("GET", "/hello", None),
        ("GET", "/bytes/1000000", None),
        ("POST", "/upload", UPLOAD),
    ):
        connection.request(method, path, body)
        answer = connection.getresponse()
        report(method, path, answer.status, answer.read())
    connection.close()
