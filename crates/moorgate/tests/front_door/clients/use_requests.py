"""requests, through the proxy PROXY: one session for each base URL given."""

import os
import sys

import requests

from errand import UPLOAD, report

for base in sys.argv[1:]:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = os.environ["CA"]
        session.proxies = {"http": os.environ["PROXY"], "https": os.environ["PROXY"]}
        for path in ("/hello", "/hello", "/bytes/1000000"):
            answer = session.get(base + path)
            report("GET", path, answer.status_code, answer.content)
        answer = session.post(base + "/upload", data=UPLOAD)
        report("POST", "/upload", answer.status_code, answer.content)
