#!/usr/bin/env python3
"""How long the console's pages take at 10,000 routes and a million flows.

    cargo build --profile dist && python3 bench/pages.py target/dist/moorgate [--routes 10000] [--flows 1000000] [--rounds 7]

One account has all of it, spread over thirty days. Routes are applied as anybody would; flows and what was counted of them
are put into the gateway's own files while it is stopped, multiplied from flows that it recorded itself: a month can't be
waited for. Each page is then asked for by an operator who is signed in, one after the other over one connection, with a
hundred requests a second going through the proxy beside it. Prints the median and the longest of each page in
milliseconds, and ends with 1 where one takes longer than 100.
Needs Python 3.11 and nothing else; everything is on loopback, in a temporary directory, and ends with the script.
"""

import argparse
import base64
import contextlib
import http.client
import json
import os
import random
import re
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

LISTENERS = ["OUTBOUND_HTTP", "OUTBOUND_SOCKS", "OUTBOUND_HTTPS", "OUTBOUND_SOCKS_TLS", "INBOUND_HTTP", "INBOUND_TLS"]
# Milliseconds.
GOAL = 100
HOURS = 30 * 24
# Flows in one row of their file.
BATCH = 512
SEQUENCE_BITS = 22
CREDENTIALS = 50
# Latencies as they are stored: some of a few buckets.
HISTOGRAM = "[[40, 3], [45, 7], [60, 1]]"


class Gateway:
    """A gateway on a directory, started and stopped as often as wanted."""

    def __init__(self, program, directory, flows):
        self.program, self.directory, self.flows = program, Path(directory), flows

    def __enter__(self):
        variables = {f"MOORGATE_{name}": "127.0.0.1:0" for name in [*LISTENERS, "CONSOLE_LISTEN"]}
        variables |= {"MOORGATE_LOG_FLOWS": "off", "MOORGATE_LOG_KEEP": str(self.flows)}
        command = [self.program, "up", "--data-dir", str(self.directory)]
        self.process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)
        facts = self.directory / "gateway.json"
        while not facts.exists():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.program} up ended at its start")
            time.sleep(0.05)
        self.facts = json.loads(facts.read_text())
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def cli(self, *arguments):
        command = [self.program, "--data-dir", str(self.directory), *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def proxy(self):
        host, port = self.facts["listeners"]["outbound_http"][0].rsplit(":", 1)
        return http.client.HTTPConnection(host, int(port))

    @contextlib.contextmanager
    def busy(self, credential):
        """With a hundred requests a second to the gateway's own echo."""
        stop = threading.Event()
        running = threading.Thread(target=self.traffic, args=(credential, stop, 0.01))
        running.start()
        try:
            yield
        finally:
            stop.set()
            running.join()

    def traffic(self, credential, stop, pace):
        basic = base64.b64encode(f"{credential['username']}:{credential['password']}".encode()).decode()
        connection = self.proxy()
        while not stop.wait(pace):
            connection.request("GET", "http://echo.moorgate.internal/", headers={"Proxy-Authorization": f"Basic {basic}"})
            connection.getresponse().read()


class Browser:
    """Somebody who is signed in."""

    def __init__(self, gateway):
        address = urllib.parse.urlsplit(gateway.facts["api"])
        self.connection = http.client.HTTPConnection(address.hostname, address.port)
        self.origin, self.cookie = f"http://{address.netloc}", ""
        link = re.search(r"https?://[^/\s]+(/welcome/\S+)", gateway.cli("person", "invite", "bench@example.com"))
        form = {"email": "bench@example.com", "password": "correct horse battery"}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.origin}
        self.connection.request("POST", link[1], urllib.parse.urlencode(form), headers)
        answer = self.connection.getresponse()
        answer.read()
        self.cookie = answer.headers["Set-Cookie"].split(";")[0]

    def get(self, path):
        """Milliseconds until the last byte, and how many there are."""
        began = time.perf_counter()
        self.connection.request("GET", path, headers={"Cookie": self.cookie})
        answer = self.connection.getresponse()
        body = answer.read()
        took = (time.perf_counter() - began) * 1e3
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body.decode()[:500]}")
        return took, len(body), body.decode()


def fill(gateway, routes):
    """The account: its routes, by one text, and credentials."""
    text = ['[accounts.big]\npolicy = ["deny evil.example"]\n']
    for number in range(routes):
        text.append(f'[routes."r{number}.test"]\naccount = "big"\nmode = "passthrough"\norigins = [{{ url = "tls://127.0.0.1:9" }}]\n')
    file = gateway.directory / "big.toml"
    file.write_text("".join(text))
    gateway.cli("apply", "-f", str(file))
    return [json.loads(gateway.cli("credential", "add", "big", "--name", f"app {n}", "--json")) for n in range(CREDENTIALS)]


def flow_id(moment, number):
    """A flow's number as the gateway makes them (the millisecond in which it began, and what tells apart those of one),
    and as it is written."""
    key = moment // 1000 << SEQUENCE_BITS | number & (1 << SEQUENCE_BITS) - 1
    return key, "".join("0123456789abcdefghjkmnpqrstvwxyz"[key >> shift & 31] for shift in range(60, -5, -5))


def multiply(directory, models, count, routes, credentials):
    """A month of flows, and of what was counted of them, from the few that were recorded."""
    dice = random.Random(1)
    kept = sqlite3.connect(directory / "flows.sqlite")
    model = next(model for model in models if model["outcome"] == "ok")
    kept.execute("DELETE FROM batch")
    kept.execute("DELETE FROM batch_account")
    end = time.time_ns() // 1000
    step = HOURS * 3_600_000_000 // count
    stored = sqlite3.connect(directory / "moorgate.sqlite")
    account = stored.execute("SELECT id FROM account WHERE name = 'big'").fetchone()[0]
    ids = {name: row for name, row in stored.execute("SELECT username, id FROM credential WHERE account = ?", [account])}
    domains = {name: row for name, row in stored.execute("SELECT domain, id FROM route WHERE account = ?", [account])}
    usage, totals, body, first = {}, {}, [], None
    for number in range(count):
        moment = end - (count - number) * step
        key, name = flow_id(moment, number)
        flow = {"id": name, **{field: value for field, value in model.items() if field != "id"}}
        flow["started"] = moment
        flow["duration_us"] = dice.randrange(200, 40_000)
        credential = route = 0
        host = ""
        if number % 2:
            domain = f"r{dice.randrange(routes)}.test"
            flow |= {"kind": "tunnel", "listener": "inbound_tls", "route": domain, "target": f"{domain}:443"}
            flow.pop("username", None)
            route = domains[domain]
        else:
            flow["username"] = dice.choice(credentials)["username"]
            host = f"host{dice.randrange(100)}.example"
            flow["target"] = f"{host}:443"
            credential = ids[flow["username"]]
        if number % 50 == 0:
            flow["outcome"] = "policy_denied"
        hour = moment // 3_600_000_000
        for table, row in [
            (usage, (hour, account, credential, route, host, "")),
            *((totals, (account, *part, hour)) for part in {(0, 0), (credential, 0), (0, route)}),
        ]:
            counts = table.setdefault(row, [0, 0, 0])
            counts[0] += 1
            counts[1] += 1000
            counts[2] += number % 50 == 0
        body.append(json.dumps(flow, separators=(",", ":")))
        first = key if first is None else first
        if len(body) == BATCH or number == count - 1:
            kept.execute("INSERT INTO batch VALUES (?, ?, ?, ?, ?)", [number + 1, len(body), first, key, "\n".join(body)])
            kept.execute("INSERT INTO batch_account VALUES ('big', ?)", [number + 1])
            body, first = [], None
    kept.commit()
    for name, counted in (("usage", usage), ("usage_total", totals)):
        rows = [
            (*row, "bench/1", made, 0, moved, moved, refused, 0, HISTOGRAM, json.dumps({"policy_denied": refused}))
            for row, (made, moved, refused) in counted.items()
        ]
        places = ",".join("?" * len(rows[0]))
        stored.executemany(f"INSERT OR REPLACE INTO {name} VALUES ({places})", rows)
    # An account has no flows of a time before it was.
    stored.execute("UPDATE account SET created = ? WHERE id = ?", [end - (HOURS + 1) * 3_600_000_000, account])
    stored.commit()
    print(f"{count} flows kept; {len(usage)} rows of usage and {len(totals)} sums of them", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("moorgate")
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--flows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moorgate-bench-") as directory:
        data = Path(directory) / "gateway"
        with Gateway(arguments.moorgate, data, arguments.flows) as gateway:
            credentials = fill(gateway, arguments.routes)
            with gateway.busy(credentials[0]):
                time.sleep(3)
            models = [json.loads(line) for line in gateway.cli("log", "--account", "big", "--json").splitlines()]
        multiply(data, models, arguments.flows, arguments.routes, credentials)
        with Gateway(arguments.moorgate, data, arguments.flows) as gateway:
            browser = Browser(gateway)
            traffic = browser.get("/a/big/traffic")[2]
            flow = re.search(r"/a/big/flows/\w+", traffic)[0]
            one = f"credential%3A{credentials[7]['username']}"
            pages = ["/accounts", "/tiers", "/gateways", "/people", "/audit", "/you"]
            pages += [f"/a/big{rest}" for rest in ("", "/letter", "/connect", "/connect?to=web&with=curl", "/credentials")]
            pages += [f"/a/big{rest}" for rest in ("/routes", "/routes/new", "/routes/r7.test", "/exposure", "/policy")]
            pages += [f"/a/big/traffic?span={span}" for span in ("hour", "day", "week", "month")]
            pages += ["/a/big/traffic?span=month&of=route%3Ar7.test", f"/a/big/traffic?span=month&of={one}"]
            pages += ["/a/big/traffic?to=host7&only=bad", flow, "/a/big/alarms", "/a/big/members", "/a/big/tokens"]
            late = []
            print(f"\n{'page':60} {'median':>8} {'longest':>8}   KiB")
            with gateway.busy(credentials[0]):
                for page in pages:
                    took, sizes, _ = zip(*(browser.get(page) for _ in range(arguments.rounds)))
                    middle = statistics.median(took)
                    shown = page.replace(one, "credential%3A…").replace(flow, "/a/big/flows/…")
                    print(f"{shown:60} {middle:8.1f} {max(took):8.1f} {sizes[0] / 1024:5.0f}", flush=True)
                    late += [shown] if max(took) > GOAL else []
    if late:
        raise SystemExit(f"more than {GOAL} ms: {', '.join(late)}")
    print(f"\nevery page within {GOAL} ms, each time of {arguments.rounds}")


main()
