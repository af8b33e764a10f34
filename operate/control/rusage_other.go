//go:build !unix

package control

// rusage is what Celery says where Python has no module resource.
func rusage() any { return "N/A" }
