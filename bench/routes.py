#!/usr/bin/env python3
"""What 100,000 routes of 10,000 accounts and one edit a second do to connections: the same gateway with 10 routes and
with many, in turn.

    cargo build --profile dist && python3 bench/routes.py target/dist/moorgate [--routes 100000] [--accounts 10000] [--rounds 7]

Both gateways run at once, with one passthrough origin of this script behind both; rounds alternate. A connection is a
ClientHello that names a route and the origin's echo of it. Prints medians of p50 and p99 over the rounds, and ratios, and
how long an edit takes until it is served.
Needs Python 3.11 and nothing else; everything is on loopback, in a temporary directory, and ends with the script.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import socket
import ssl
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

LISTENERS = ["OUTBOUND_HTTP", "OUTBOUND_SOCKS", "OUTBOUND_HTTPS", "OUTBOUND_SOCKS_TLS", "INBOUND_HTTP", "INBOUND_TLS"]


def hello(name):
    """The bytes of a ClientHello for `name`."""
    out = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def echo():
    """An origin that sends back what it gets, in a process of its own, so that it takes no turns from what measures; and
    its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    process = multiprocessing.get_context("fork").Process(target=serve, args=(listener,), daemon=True)
    process.start()
    return listener.getsockname()[1]


def serve(listener):
    """Answers one connection after the other: there is never more than one."""
    while True:
        conn = listener.accept()[0]
        with conn, contextlib.suppress(ConnectionError):
            while data := conn.recv(65536):
                conn.sendall(data)


class Gateway:
    def __init__(self, program, directory):
        self.directory = Path(directory)
        variables = {f"MOORGATE_{name}": "127.0.0.1:0" for name in [*LISTENERS, "CONSOLE_LISTEN"]}
        variables["MOORGATE_LOG_FLOWS"] = "off"
        command = [program, "up", "--data-dir", str(self.directory)]
        self.process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)
        facts = self.directory / "gateway.json"
        while not facts.exists():
            if self.process.poll() is not None:
                raise SystemExit(f"{program} up ended at its start")
            time.sleep(0.05)
        facts = json.loads(facts.read_text())
        host, port = facts["listeners"]["inbound_tls"][0].rsplit(":", 1)
        self.address = (host, int(port))
        self.api = http.client.HTTPConnection(facts["api"].removeprefix("http://"))
        self.edits, self.served = 0, []
        self.token = (self.directory / "operator.token").read_text().strip()

    def call(self, method, path, body):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self.api.request(method, f"/api/v1/{path}", json.dumps(body), headers)
        answer = self.api.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()}")

    def fill(self, count, accounts, origin):
        """Accounts, and routes dealt out to them, by one text."""
        began = time.monotonic()
        text = [f"[accounts.a{number}]\npolicy = ['deny {number}.example']\n" for number in range(accounts)]
        for number in range(count):
            text.append(
                f'[routes."r{number}.test"]\naccount = "a{number % accounts}"\nmode = "passthrough"\n'
                f'origins = [{{ url = "tls://127.0.0.1:{origin}" }}]\n'
            )
        self.call("POST", "apply", {"text": "".join(text)})
        return time.monotonic() - began

    def edit(self, number):
        # The API closes what is idle for long: each edit connects anew.
        self.api.close()
        began = time.perf_counter()
        self.call("PATCH", f"routes/r{number}.test", {"clients": {"deny": [f"192.0.2.{self.edits % 250}/32"]}})
        self.edits += 1
        self.served.append((time.perf_counter() - began) * 1e3)

    def memory(self):
        """Resident memory, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def measure(gateway, greetings, seconds):
    """Times of connections for so long, one after the other, with an edit a second beside them; in microseconds."""
    stop = threading.Event()

    def edits():
        number = 0
        while not stop.wait(1 if number else 0.5):
            gateway.edit(number % 10)
            number += 1

    failed = []

    def editing_or_why():
        try:
            edits()
        except BaseException as why:  # A thread's end says nothing by itself.
            failed.append(why)

    editing = threading.Thread(target=editing_or_why)
    editing.start()
    times, until, turn = [], time.monotonic() + seconds, 0
    while time.monotonic() < until:
        greeting = greetings[turn % len(greetings)]
        turn += 1
        began = time.perf_counter()
        with socket.create_connection(gateway.address) as client:
            client.sendall(greeting)
            left = len(greeting)
            while left:
                data = client.recv(left)
                if not data:
                    raise SystemExit("a connection was closed before its answer")
                left -= len(data)
        times.append((time.perf_counter() - began) * 1e6)
    stop.set()
    editing.join()
    if failed:
        raise failed[0]
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100], len(times) / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("moorgate")
    parser.add_argument("--routes", type=int, default=100_000)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    origin = echo()
    few, many = 10, arguments.routes
    with contextlib.ExitStack() as stack:
        gateways = {}
        for count in (few, many):
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="moorgate-bench-"))
            gateway = gateways[count] = Gateway(arguments.moorgate, f"{directory}/gateway")
            stack.callback(gateway.process.wait)
            stack.callback(gateway.process.terminate)
            accounts = min(arguments.accounts, max(1, count // 10))
            took = gateway.fill(count, accounts, origin)
            print(f"{count} routes of {accounts} accounts applied in {took:.1f} s; {gateway.memory():.0f} MiB", flush=True)
        greetings = {count: [hello(f"r{at * count // 10}.test") for at in range(10)] for count in gateways}
        found = {count: [] for count in gateways}
        for _ in range(arguments.rounds):
            for count, gateway in gateways.items():
                found[count].append(measure(gateway, greetings[count], arguments.seconds))
        median = {count: [statistics.median(row) for row in zip(*rows)] for count, rows in found.items()}
        for count, (p50, p99, rate) in median.items():
            print(f"{count:7} routes: p50 {p50:6.0f} us   p99 {p99:6.0f} us   {rate:5.0f} connections/s")
        for count, gateway in gateways.items():
            served = sorted(gateway.served)
            print(
                f"{count:7} routes: an edit is served after {served[len(served) // 2]:.1f} ms, at most {served[-1]:.1f} ms; "
                f"{gateway.memory():.0f} MiB"
            )
        print(f"ratio: p50 {median[many][0] / median[few][0]:.3f}   p99 {median[many][1] / median[few][1]:.3f}")


main()
