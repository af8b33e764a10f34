"""An app whose messages are signed; the key is made by the first who needs it."""
import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from celery import Celery

folder = os.environ["KEYS"]
key_file, certificate_file = os.path.join(folder, "key.pem"), os.path.join(folder, "certificate.pem")


def make():
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(7).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
                   .sign(key, hashes.SHA256()))
    for path, data in ((key_file, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                                    serialization.NoEncryption())),
                       (certificate_file, certificate.public_bytes(serialization.Encoding.PEM))):
        with open(path, "wb") as f:
            f.write(data)


if not os.path.exists(certificate_file):
    make()
app = Celery("signed", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(security_key=key_file, security_certificate=certificate_file, security_cert_store=certificate_file,
                task_serializer="auth", event_serializer="auth", accept_content=["auth"])
app.setup_security()
app.conf.result_accept_content = ["json"]


@app.task
def add(x, y):
    return x + y


@app.task
def add_later(x, y):
    return add.delay(x, y).id


@app.task(name="tapp.add")
def add_in_go(x, y, z=0):
    raise RuntimeError("this runs in Python")


app.conf.beat_schedule = {"tick": {"task": "signed.add", "schedule": 1.0, "args": (20, 22)}}
