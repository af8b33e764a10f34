broker_url = "redis://localhost/1"
task_default_queue = "configured"
