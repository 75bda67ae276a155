"""A mail server that delivers nothing: says where it listens, then each mail it was given, as a line of JSON.

usage: smtp_sink.py CERTIFICATE KEY smtps|starttls USER PASSWORD
"""

import base64
import json
import socket
import ssl
import sys
import threading

certificate, key, mode, user, password = sys.argv[1:6]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)


def say(what):
    print(json.dumps(what), flush=True)


def serve(connection):
    secure = mode == "smtps"
    if secure:
        connection = context.wrap_socket(connection, server_side=True)
    lines = connection.makefile("rb")
    mail = {"tls": secure, "auth": False, "to": []}

    def answer(text):
        connection.sendall(text.encode() + b"\r\n")

    answer("220 sink.example ESMTP")
    while line := lines.readline():
        words = line.decode().strip()
        verb = words.split(" ")[0].upper()
        if verb == "EHLO":
            more = "250-AUTH PLAIN\r\n" if secure else "250-STARTTLS\r\n"
            answer(f"250-sink.example\r\n{more}250 8BITMIME")
        elif verb == "STARTTLS":
            answer("220 go ahead")
            connection = context.wrap_socket(connection, server_side=True)
            lines, secure = connection.makefile("rb"), True
            mail["tls"] = True
        elif verb == "AUTH":
            given = base64.b64decode(words.split(" ")[2]).split(b"\0")[1:]
            mail["auth"] = given == [user.encode(), password.encode()]
            answer("235 welcome" if mail["auth"] else "535 who are you")
        elif verb == "MAIL":
            mail["from"] = words
            answer("250 ok")
        elif verb == "RCPT":
            mail["to"].append(words)
            answer("550 no such mailbox" if "nobody@" in words else "250 ok")
        elif verb == "DATA":
            answer("354 go on")
            data = b""
            while (line := lines.readline()) not in (b".\r\n", b""):
                data += line
            say({**mail, "data": data.decode()})
            answer("250 queued as 7")
        elif verb == "QUIT":
            answer("221 bye")
            break
        else:
            answer("500 what")
    connection.close()


def guarded(connection):
    try:
        serve(connection)
    except (OSError, ssl.SSLError) as error:
        print(error, file=sys.stderr, flush=True)


listener = socket.create_server(("127.0.0.1", 0))
say({"port": listener.getsockname()[1]})
while True:
    threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()
