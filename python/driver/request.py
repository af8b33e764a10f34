"""Turns a message into the arguments of Celery's tracer."""
import json


# In the order in which py-amqp reads them.
AMQP_PROPERTIES = (
    "content_type", "content_encoding", "application_headers", "delivery_mode", "priority", "correlation_id", "reply_to",
    "expiration", "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id",
)


def is_amqp(properties):
    """Tells whether a message has come over AMQP. Those of kombu's own transports are not read without a delivery_tag."""
    return "delivery_tag" not in properties


def as_transport(head):
    """The properties of a message as kombu's transport has them: py-amqp keeps all that it is told of a message there."""
    properties = head["properties"] or {}
    if not is_amqp(properties):
        return properties
    known = dict(properties, application_headers=head["headers"] or {}, content_type=head["content_type"], content_encoding=head["content_encoding"])
    return {name: known[name] for name in AMQP_PROPERTIES if known.get(name) is not None}


def redelivered(head):
    """Whether a message comes again, as Celery's requests have it. Kombu's own transports say so only if it does."""
    import celery
    if head["redelivered"] or is_amqp(head["properties"] or {}) or celery.VERSION >= (5, 3):
        return head["redelivered"]
    return None


class Requests(object):
    def __init__(self, app, hostname):
        import celery
        from kombu.serialization import prepare_accept_content
        self.app, self.hostname = app, hostname
        self.has_properties = celery.VERSION >= (5,)
        self.accepted = prepare_accept_content(app.conf.accept_content)

    def arguments(self, head, body):
        headers, properties = head["headers"] or {}, head["properties"] or {}
        content_type, content_encoding = head["content_type"], head["content_encoding"]
        if headers.get("compression"):
            from kombu.compression import decompress
            body = decompress(body, headers["compression"])
        if "task" in headers:
            request = headers
        else:
            request, body = self.first_protocol(headers, body, content_type, content_encoding)
            content_type = content_encoding = None
        if is_amqp(properties):
            request = dict(request)  # what the message says stays as it is
        if self.has_properties:
            request["properties"] = as_transport(head)
        request.update(
            reply_to=properties.get("reply_to"), correlation_id=properties.get("correlation_id"),
            hostname=self.hostname,
            delivery_info={
                "exchange": head["exchange"], "routing_key": head["routing_key"], "priority": properties.get("priority"),
                "redelivered": redelivered(head),
            },
        )
        return request["task"], request["id"], request, body, content_type, content_encoding

    def told(self, head, body):
        """What the body of a message says, but for the arguments of its task: JSON."""
        from kombu.compression import decompress
        from kombu.serialization import loads
        compression = (head["headers"] or {}).get("compression")
        if compression:
            body = decompress(body, compression)
        payload = loads(body, head["content_type"], head["content_encoding"], accept=self.accepted)
        if not isinstance(payload, dict):
            return b"[]"
        parts = {name: encoded(value) for name, value in payload.items() if isinstance(name, str) and name not in ("args", "kwargs")}
        if "args" in payload:
            parts["args"] = "[]"
        if payload.get("kwargs") and not hasattr(payload["kwargs"], "items"):
            parts["kwargs"] = "1"  # not what it may be
        return ("{%s}" % ", ".join("%s: %s" % (json.dumps(name), text) for name, text in parts.items() if text is not None)).encode()

    def first_protocol(self, headers, body, content_type, content_encoding):
        from celery.worker.strategy import hybrid_to_proto2
        from kombu.serialization import loads
        payload = loads(body, content_type, content_encoding, accept=self.accepted)
        message = FirstProtocolMessage(headers, payload)
        body, request, _, _ = hybrid_to_proto2(message, payload)
        return request, body


def encoded(value):
    """A value as JSON; None: it has no such form."""
    from kombu.utils.json import dumps
    try:
        return dumps(value)
    except Exception:
        return None


class FirstProtocolMessage(object):
    def __init__(self, headers, payload):
        self.headers, self.payload = headers, payload
