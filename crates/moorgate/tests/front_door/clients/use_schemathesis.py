"""Asks the API everything that its description allows, and much that it does not; and has the description checked.

usage: use_schemathesis.py API TOKEN ACCOUNT SECONDS SEED
"""

import ipaddress
import json
import os
import sys
import tempfile
import urllib.request

import hypothesis.strategies as st
import schemathesis
from openapi_spec_validator import OpenAPIV31SpecValidator

api, token, account, seconds, seed = sys.argv[1:6]

# Which token we are, so that it is not revoked under us.
OWN = os.environ["OWN_TOKEN_ID"]

names = st.from_regex(r"[a-z][a-z0-9]{0,8}(\.[a-z]{2,5}){1,2}", fullmatch=True)
# What is there, so that something happens, and what is not.
schemathesis.openapi.format("account", st.sampled_from(["acme", "default", "nobody"]))
schemathesis.openapi.format("domain", st.sampled_from(["app.example.com", "b.example.com", "*.example.org", "none.test"]))
schemathesis.openapi.format("tier", st.sampled_from(["gold", "silver", "none"]))
ports = st.integers(1, 65535)
networks = st.builds(
    lambda address, bits: str(ipaddress.ip_network((address, bits), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
schemathesis.openapi.format("cidr", networks)
schemathesis.openapi.format("matcher", st.one_of(names, names.map("*.{}".format), networks))
schemathesis.openapi.format(
    "origin-url",
    st.builds("{}://{}:{}".format, st.sampled_from(["http", "https", "tls"]), names, ports),
)


# Nobody listens there, which is found out at once.
schemathesis.openapi.format("receiver", st.builds("https://127.0.0.1:9/{}".format, st.integers(0, 99)))


@schemathesis.hook
def filter_headers(context, headers):
    # Spaces around a value are no part of it (RFC 9110, section 5.5): what is sent is not what was made.
    return all(value == value.strip() for value in (headers or {}).values() if isinstance(value, str))


@schemathesis.hook
def before_call(context, case, kwargs):
    # A stream of flows has no end to wait for.
    if case.path.endswith("/flows") and case.query:
        case.query.pop("follow", None)
    # Without its token the rest of the run would see 401 alone.
    if case.path_parameters and case.path_parameters.get("id") == OWN:
        case.path_parameters["id"] = "another"
    # So would it without its account.
    if case.method == "DELETE" and case.path == "/api/v1/accounts/{account}":
        if case.path_parameters["account"] == account:
            case.path_parameters["account"] = "another"
    # A text with nothing in it would remove all that the rest of the run asks about.
    if case.path.endswith("/apply") and case.query:
        case.query.pop("prune", None)


def described():
    with urllib.request.urlopen(f"{api}/api/v1/openapi.json") as answer:
        return json.load(answer)


CONFIG = """
[checks.negative_data_rejection]
# Conditions are judged before the body is (RFC 9110, section 13.2.1), and a body's length before what is in it.
expected-statuses = [400, 401, 403, 404, 409, 412, 413, 415, 422]
[checks.positive_data_acceptance]
# What no schema can say (the name of an account that is there, a certificate that fits its key) is said by 422.
expected-statuses = ["2xx", 304, 401, 403, 404, 409, 412, 422]
# What would become of a request is said of a domain without a route too.
[[operations]]
include-path-regex = "/explain$"
checks.use_after_free.enabled = false
"""

OpenAPIV31SpecValidator(described()).validate()
directory = tempfile.TemporaryDirectory()
config = os.path.join(directory.name, "schemathesis.toml")
with open(config, "w") as file:
    file.write(CONFIG)
sys.argv = [
    "schemathesis", "--config-file", config, "run", f"{api}/api/v1/openapi.json",
    "--header", f"Authorization: Bearer {token}",
    "--checks", "all", "--seed", seed, "--max-time", seconds, "--continue-on-failure",
    "--no-color", "--request-timeout", "10",
]
from schemathesis.cli import schemathesis as run

# It keeps what it found where it runs.
os.chdir(directory.name)
try:
    run()
except SystemExit as end:
    # It was not the end of its token that made everything look well.
    own = urllib.request.Request(f"{api}/api/v1/tokens/{OWN}", headers={"Authorization": f"Bearer {token}"})
    urllib.request.urlopen(own).close()
    sys.exit(end.code)
