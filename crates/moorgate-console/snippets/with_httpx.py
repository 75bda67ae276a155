import os, ssl, httpx

trust = ssl.create_default_context(cafile=os.environ.get("MOORGATE_CA"))
proxy = httpx.Proxy(os.environ["MOORGATE_SHIELD_URL"], ssl_context=trust)
with httpx.Client(proxy=proxy) as client:
    print(client.get("http://echo.moorgate.internal/").text)
