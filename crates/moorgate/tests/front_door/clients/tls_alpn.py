"""Has a certificate for one name issued by TLS-ALPN-01, as an origin with its own ACME client does.

Arguments: the CA's directory, the CA's own root (PEM), the name, the address to answer at, and where to write the
chain and the key. Debian's python3-acme, but for the certificate that is shown: the library's is of a draft.
"""

import datetime
import sys
import threading

import josepy
from acme import challenges, client, crypto_util, errors, messages, standalone
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import crypto

# RFC 8737 §6.1.
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


def shown(name, digest):
    """The key and the certificate by which the CA validates (RFC 8737 §3)."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.utcnow()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    built = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    built = built.serial_number(x509.random_serial_number())
    built = built.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    octets = bytes([4, len(digest)]) + digest
    built = built.add_extension(x509.UnrecognizedExtension(ACME_IDENTIFIER, octets), critical=True)
    certificate = built.sign(key, hashes.SHA256())
    return crypto.PKey.from_cryptography_key(key), crypto.X509.from_cryptography(certificate)


directory, root, name, address, chain_path, key_path = sys.argv[1:]

account = josepy.JWKRSA(key=rsa.generate_private_key(65537, 2048))
network = client.ClientNetwork(account, user_agent="origin", verify_ssl=root)
ca = client.ClientV2(client.ClientV2.get_directory(directory, network), network)
ca.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))

key = rsa.generate_private_key(65537, 2048).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
order = ca.new_order(crypto_util.make_csr(key, [name]))
offered = order.authorizations[0].body.challenges
chosen = next(body for body in offered if isinstance(body.chall, challenges.TLSALPN01))
response = chosen.response(account)
server = standalone.TLSALPN01Server((address, 443), {}, {name.encode(): shown(name, response.h)})
threading.Thread(target=server.serve_forever, daemon=True).start()
ca.answer_challenge(chosen, response)
try:
    issued = ca.poll_and_finalize(order)
except errors.ValidationError as refused:
    sys.exit(str(refused.failed_authzrs))
with open(chain_path, "w") as chain:
    chain.write(issued.fullchain_pem)
with open(key_path, "wb") as out:
    out.write(key)
