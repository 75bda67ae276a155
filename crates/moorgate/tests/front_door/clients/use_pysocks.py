"""PySocks alone, with plain sockets: one tunnel for each base URL given."""

import http.client
import os
import ssl
import sys
from urllib.parse import urlsplit

import socks

from errand import over

proxy = urlsplit(os.environ["PROXY"])
for base in sys.argv[1:]:
    url = urlsplit(base)
    sock = socks.socksocket()
    sock.set_proxy(socks.SOCKS5, proxy.hostname, proxy.port, True, proxy.username, proxy.password)
    sock.settimeout(60)
    sock.connect((url.hostname, url.port))
    if url.scheme == "https":
        sock = ssl.create_default_context(cafile=os.environ["CA"]).wrap_socket(sock, server_hostname=url.hostname)
    over(sock, url.netloc)
