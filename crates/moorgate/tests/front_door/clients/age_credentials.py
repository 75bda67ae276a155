"""Makes two credentials of a stopped gateway older, as waiting would: one that was never used, one that was."""

import sqlite3
import sys
import time

path, unused, used = sys.argv[1:]
DAY = 86_400_000_000
now = time.time_ns() // 1000
with sqlite3.connect(path) as store:
    store.execute("UPDATE credential SET created = ? WHERE username IN (?, ?)", [now - 8 * DAY, unused, used])
    store.execute(
        "INSERT OR REPLACE INTO credential_use SELECT id, ?, '192.0.2.1' FROM credential WHERE username = ?",
        [now - 2 * DAY, used],
    )
