from celery import shared_task
from django.db import connection

from configured import journal


@shared_task(bind=True)
def query(self):
    """Asks the database, with a connection of its own."""
    journal("connected before", self.request.id, open=connection.connection is not None)
    with connection.cursor() as cursor:
        cursor.execute("select 6 * 7")
        return cursor.fetchone()[0]


@shared_task
def now():
    from django.utils import timezone
    return [str(timezone.get_current_timezone()), timezone.is_aware(timezone.now())]


@shared_task
def fails():
    from django.core.exceptions import ObjectDoesNotExist
    raise ObjectDoesNotExist("gone")
