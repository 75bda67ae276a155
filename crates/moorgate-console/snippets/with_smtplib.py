# Run it by: moorgate agent --via shield --map 1587=smtp.example.com:587 -- python3 with_smtplib.py
import smtplib, socket, ssl


class ByAgent(smtplib.SMTP):
    def _get_socket(self, host, port, timeout):
        return socket.create_connection(("127.0.0.1", 1587), timeout)


with ByAgent("smtp.example.com", 587) as smtp:
    smtp.starttls(context=ssl.create_default_context())
    smtp.sendmail("app@example.com", "you@example.com", "Subject: By the gateway\r\n\r\nHello.\r\n")
