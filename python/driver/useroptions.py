"""The options that an app adds to those of `celery worker`: app.user_options."""


class Mistake(Exception):
    """Something is wrong with the command line. The message is Celery's."""


def parse(app, given):
    """Returns the app's options, with their values, as arguments of Celery's worker."""
    worker, preload = (list(app.user_options.get(kind) or ()) for kind in ("worker", "preload"))
    if not (worker or preload or given):
        return {}
    from celery import VERSION
    values = (with_click if VERSION[0] >= 5 else with_argparse)(worker + preload, given)
    if preload:
        from celery import signals
        from celery.bin.worker import worker as command
        names = [option.name for option in preload] if VERSION[0] >= 5 else list(values)
        signals.user_preload_options.send(sender=command, app=app, options={name: values[name] for name in names})
    return values


def with_click(options, given):
    import click
    command = click.Command("worker", params=options, add_help_option=False)
    try:
        return command.make_context("celery worker", list(given)).params
    except click.UsageError as exc:
        raise Mistake(exc.format_message())


def with_argparse(options, given):
    """Before Celery 5 an app's options are functions that add them to a parser."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message):
            raise Mistake(message[:1].upper() + message[1:])

    parser = Parser(prog="celery worker", add_help=False)
    for add in options:
        add(parser)
    return vars(parser.parse_args(list(given)))
