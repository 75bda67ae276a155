"""httpx, through the proxy PROXY: one client for each base URL given."""

import os
import ssl
import sys

import httpx

from errand import UPLOAD, report

trust = ssl.create_default_context(cafile=os.environ["CA"])
scheme = os.environ["PROXY"].split(":")[0]
proxy = httpx.Proxy(os.environ["PROXY"], ssl_context=trust if scheme == "https" else None)
for base in sys.argv[1:]:
    with httpx.Client(proxy=proxy, verify=trust, trust_env=False, timeout=60) as client:
        for path in ("/hello", "/hello", "/bytes/1000000"):
            answer = client.get(base + path)
            report("GET", path, answer.status_code, answer.content)
        answer = client.post(base + "/upload", content=UPLOAD)
        report("POST", "/upload", answer.status_code, answer.content)
