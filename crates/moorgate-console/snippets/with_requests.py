import os, requests

proxy = os.environ["MOORGATE_STATIC_URL"]
session = requests.Session()
session.proxies = {"http": proxy, "https": proxy}
print(session.get("http://echo.moorgate.internal/").text)
