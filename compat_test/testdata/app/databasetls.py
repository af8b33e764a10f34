"""How Python's drivers connect: reads [["django", entry of DATABASES] or ["url", SQLAlchemy's], ...] from standard input.

Prints a JSON list of "tls", "plain" and "refused".
"""
import json
import sys

import django
import pymysql
import sqlalchemy
from django.conf import settings

pymysql.version_info = (2, 2, 7, "final", 0)
pymysql.install_as_MySQLdb()
settings.configure(DATABASES={"default": {}})
django.setup()

from django.db.utils import ConnectionHandler  # noqa: E402

ASK = {
    "postgresql": "SELECT CASE WHEN ssl THEN 'tls' ELSE '' END FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    "mysql": "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'",
}


def by_django(entry):
    connection = ConnectionHandler({"default": entry})["default"]
    with connection.cursor() as cursor:
        cursor.execute(ASK[connection.vendor])
        return cursor.fetchone()[0]


def by_url(url):
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        return connection.execute(sqlalchemy.text(ASK[engine.dialect.name])).scalar()


seen = []
for kind, what in json.load(sys.stdin):
    try:
        seen.append("tls" if (by_django if kind == "django" else by_url)(what) else "plain")
    except Exception as exc:
        print(what, repr(exc)[:300], file=sys.stderr)
        seen.append("refused")
print(json.dumps(seen))
