package fromsettings

// missingTransports are kombu's transports (kombu/transport/__init__.py: TRANSPORT_ALIASES) that
// are not built, and what to do instead.
var missingTransports = map[string]string{
	"qpid":              python,
	"sqs":               python,
	"slmq":              python,
	"azureservicebus":   python,
	"azurestoragequeue": python, "azurestoragequeues": python,
	"gcpubsub": python,
	"kafka":    python, "confluentkafka": python,
	"mongodb": python,
	"pgmq":    python,
	"sqla":    python, "sqlalchemy": python,
	"filesystem": "in one process, memory:// does", "pyro": python,
	"consul": python, "etcd": python,
	"zookeeper": python,
}

const python = "leave these queues to Python's worker"

// missingResults are Celery's result backends (celery/app/backends.py: BACKEND_ALIASES), and
// others that are common, by what stands before :// or a +, and what to do instead.
var missingResults = map[string]string{
	"amqp": "Celery has it no more: rpc:// sends results as messages",
	"db":   inSQL, "database": inSQL, "sqla": inSQL,
	"django-db": inSQL, "django-cache": "Django's cache is Python's",
	"cache":   "memcached is not spoken here; in one process, cache+memory:// does",
	"mongodb": elsewhere, "cassandra": elsewhere, "elasticsearch": elsewhere, "couchbase": elsewhere, "couchdb": elsewhere,
	"arangodb": elsewhere, "riak": elsewhere, "consul": elsewhere, "etcd": elsewhere, "cosmosdbsql": elsewhere, "dynamodb": elsewhere,
	"s3": elsewhere, "gs": elsewhere, "azureblockblob": elsewhere, "file": "files are not written here",
}

const (
	inSQL     = "this program links no SQL driver; it does if it imports github.com/apium/apium/app/sql"
	elsewhere = "only Python's worker stores results there"
)
