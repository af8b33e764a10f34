//go:build !linux

package sdnotify

// monotonic is not asked for where there is no systemd.
func monotonic() int64 { return 0 }
