"""What the app signs messages with, if it does: the Go worker takes part in remote control with it."""
import inspect


def of(app):
    """The arguments of Celery's serializer auth, as register_auth was given them. None: nothing is signed."""
    from kombu.serialization import registry
    if app.conf.task_serializer != "auth":
        return None
    try:
        return keys(registry._encoders["auth"].encoder.__self__)
    except Exception:
        return None  # it is not Celery's own


def keys(serializer):
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    return {
        "key": serializer._key._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "certificate": certificate(serializer._cert),
        "store": [certificate(cert) for cert in serializer._cert_store.itercerts()],
        "digest": serializer._digest.name,
        "serializer": serializer._serializer,
        "plain": "b64encode(signer)" not in inspect.getsource(type(serializer)._pack),
    }


def certificate(cert):
    from cryptography.hazmat.primitives.serialization import Encoding
    return cert._cert.public_bytes(Encoding.PEM).decode()
