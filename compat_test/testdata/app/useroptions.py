"""An app that adds options to those of `celery worker`, in the way of its Celery, and says what it got."""
import os

from celery import VERSION, Celery, bootsteps
from celery.signals import celeryd_init, user_preload_options

app = Celery("useroptions", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])

if VERSION[0] >= 5:
    from click import Option
    app.user_options["worker"].add(Option(("--greeting",), default="hello"))
    app.user_options["worker"].add(Option(("--loud", "-w"), is_flag=True, default=False))
    app.user_options["preload"].add(Option(("--zone",), default="none"))
else:
    app.user_options["worker"].add(lambda parser: parser.add_argument("--greeting", default="hello"))
    app.user_options["worker"].add(lambda parser: parser.add_argument("--loud", "-w", action="store_true", default=False))
    app.user_options["preload"].add(lambda parser: parser.add_argument("--zone", default="none"))


class Greeter(bootsteps.Step):
    def __init__(self, parent, greeting="unset", loud=None, **options):
        print("step: %s, %s" % (greeting, loud), flush=True)


app.steps["worker"].add(Greeter)


@celeryd_init.connect
def init(options=None, **more):
    print("celeryd_init: %s, %s" % (options.get("greeting"), options.get("loud")), flush=True)


@user_preload_options.connect
def preload(options=None, **more):
    print("preload: %s" % options.get("zone"), flush=True)
