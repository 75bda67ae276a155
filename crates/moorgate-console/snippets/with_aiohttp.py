import asyncio, os, ssl, aiohttp

trust = ssl.create_default_context()
if ca := os.environ.get("MOORGATE_CA"):
    trust.load_verify_locations(ca)


async def main():
    async with aiohttp.ClientSession(proxy=os.environ["MOORGATE_SHIELD_URL"]) as session:
        async with session.get("http://echo.moorgate.internal/", ssl=trust) as response:
            print(await response.text())


asyncio.run(main())
