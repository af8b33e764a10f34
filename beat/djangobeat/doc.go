// Package djangobeat reads the periodic tasks that Django's admin edits, from the tables of
// django-celery-beat or of its predecessor django-celery, and writes their runs back.
//
// It makes no tables and no rows: `python manage.py migrate` and Python's DatabaseScheduler do.
package djangobeat
