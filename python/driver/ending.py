"""A chord ends in the step in which this process publishes its body, where broker and results are in one Redis database.

Celery publishes the body, and then forgets the chord. A process that is killed in between leaves a chord that others take for one whose
body nobody has published. Here one script does both, unless somebody else has the chord, or has ended it; the rest is Celery's own code.

Only a body that is one task ends its chord: of a group those that were published first would.
"""

# KEYS the list, .c .a .j .t .s .d of the chord; ARGV token of the claim, message, seconds that late parts are turned away. A claim that
# has run out without anybody taking the chord is as good: nobody else would publish the body. What may be refused comes before the message:
# that is then left to kombu.
PUBLISH = """
local held = redis.call('GET', KEYS[2])
if held and held ~= ARGV[1] then return 0 end
if not held and (redis.call('EXISTS', KEYS[3]) == 1 or redis.call('EXISTS', KEYS[4], KEYS[6]) == 0) then return 0 end
redis.call('SET', KEYS[2], 'done', 'EX', ARGV[3])
for i = 3, #KEYS do redis.call('DEL', KEYS[i]) end
redis.call('LPUSH', KEYS[1], ARGV[2])
return 1
"""


class Ending:
    """The end of a chord that this process has claimed."""

    def __init__(self, backend, keys, args):
        self.backend = backend
        claim = keys[5]  # of .j .t .s .d, the group's record, .c
        self.keys = [claim, claim[:-1] + (b"a" if isinstance(claim, bytes) else "a")] + keys[:4]
        self.late = int(max(2 * args[6], 300))  # Celery's own
        self.token = args[7]
        self.body = None  # the id of the task that is being published
        self.done = False

    def comes_with(self, publish):
        """Is told what publishes the body."""
        from celery.canvas import Signature
        body = getattr(publish, "__self__", None)
        self.body = body.options.get("task_id") if type(body) is Signature else None

    def take(self, channel, queue, message):
        """Publishes a message in place of kombu. It reports false if that is not its to do."""
        if self.done or not self.body or message["properties"].get("correlation_id") != self.body or not self.shares(channel, queue):
            return False
        from kombu.utils.json import dumps
        from redis.exceptions import ResponseError
        key = channel._q_for_pri(queue, channel._get_message_priority(message, reverse=False))
        with channel.conn_or_acquire() as client:
            try:
                published = client.register_script(PUBLISH)(keys=[key] + self.keys, args=[self.token, dumps(message), self.late])
            except ResponseError:
                return False
        self.done = bool(published)
        return True

    def shares(self, channel, queue):
        """Tells whether a queue is in the database of the results, and its messages are sent with LPUSH alone."""
        place = where(self.backend.client)
        if not place or getattr(channel, "global_keyprefix", None) or queue in (getattr(channel, "_expires", None) or ()):
            return False
        with channel.conn_or_acquire() as client:
            return where(client) == place


def where(client):
    """Which database a client is connected with, and as whom, as far as that can be told."""
    options = client.connection_pool.connection_kwargs
    server = options.get("path") or options.get("host") and (options["host"], options.get("port"))
    return server and (server, str(options.get("db")), options.get("username"))


def share(current):
    """Has kombu's Redis transport leave to a chord's end what that is to publish."""
    try:
        from kombu.transport.redis import Channel
    except ImportError:
        return
    put = Channel._put

    def _put(channel, queue, message, **kwargs):
        if not current.ending or kwargs.get("_publish_batch") is not None or not current.ending.take(channel, queue, message):
            put(channel, queue, message, **kwargs)

    Channel._put = _put
