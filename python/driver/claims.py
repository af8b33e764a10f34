"""Chords whose parts this process counts, by Celery's own code, along with the Go worker.

A part that comes again is counted by the Go worker, after its run: whoever has counted it before may have died before it had
published the body. Celery 4.4 would count it twice, and the body would never run; 5.7 would take the body for published.

For 5.7 claims a chord whose last part it counts: for six seconds, and for 21 and more while it publishes the body. Here a claim
lasts as long as the Go worker's do, as it has to run out before the message of a worker that has died goes to others; and the
page tells whether there is one, for the case that this process dies alone.
"""
from functools import partial

from apium_driver import ending
from apium_driver.records import is_plain_redis


def share(app, current, page, lease):
    """lease: how long a claim lasts, in seconds; 0: the Go worker counts no parts in the app's backend."""
    backend = app.backend
    if lease and is_plain_redis(backend):
        leave_what_comes_again(backend, current)
        if hasattr(type(backend), "_chord_claim_extend_script") and hasattr(type(backend), "_chord_cleanup_script"):
            shorten(app, type(backend), current, page, max(1, int(lease)))
            ending.share(current)


def leave_what_comes_again(backend, current):
    count = backend.on_chord_part_return

    def on_chord_part_return(request, state, result, *args, **kwargs):
        info = request.delivery_info or {}
        if not current.job or request.id != current.task_id or not request.group or not info.get("redelivered"):
            return count(request, state, result, *args, **kwargs)
        current.part = backend.encode(backend.encode_result(result, state))

    backend.on_chord_part_return = on_chord_part_return


def shorten(app, kind, current, page, most):
    """Has no claim last longer than so many seconds."""
    counting, extending = attribute(kind, "_chord_part_return_script"), attribute(kind, "_chord_claim_extend_script")
    cleaning = attribute(kind, "_chord_cleanup_script")
    publish = app.amqp._retry_publish

    def count(script, backend, keys, args, client):
        current.claims = True
        page.claim(1)
        answer = script(keys=keys, args=args[:6] + [min(args[6], most)] + args[7:], client=client)
        if answer[3]:
            current.ending = ending.Ending(backend, keys, args)
        else:
            end(current, page)
        return answer

    def extend(script, keys, args, client):
        return script(keys=keys, args=[args[0], min(args[1], most)], client=client)

    def clean(script, keys, args, client):
        ended = current.ending.done if current.ending else current.ended == args[0]
        return 1 if ended else script(keys=keys, args=args, client=client)

    def retry_publish(what, *args, **kwargs):
        if current.ending:
            current.ending.comes_with(what)
        published = publish(what, *args, **kwargs)
        end(current, page)
        return published

    kind._chord_part_return_script = property(lambda backend: partial(count, counting.__get__(backend), backend))
    kind._chord_claim_extend_script = property(lambda backend: partial(extend, extending.__get__(backend)))
    kind._chord_cleanup_script = property(lambda backend: partial(clean, cleaning.__get__(backend)))
    app.amqp._retry_publish = retry_publish


def attribute(kind, name):
    """What a class has under a name, or else one that it inherits from: not what an object gets."""
    return next(vars(base)[name] for base in kind.__mro__ if name in vars(base))


def end(current, page):
    """Is called when this process is about to publish a body no more."""
    if current.ending:
        current.ended = current.ending.token if current.ending.done else None
        current.ending = None
    if current.claims:
        current.claims = False
        page.claim(0)
