# Stands in for mongosh, which no registry of the tests has for their Node: a driver of the same makers that takes the same
# URI, and pings.

import sys

import pymongo

with pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=20000) as client:
    print("pong", client.admin.command("ping")["ok"], client.address)
