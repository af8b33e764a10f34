//go:build unix

package control

import "syscall"

// rusage is Python's resource.getrusage(RUSAGE_SELF).
func rusage() any {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return "N/A"
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return map[string]any{
		"utime": seconds(u.Utime), "stime": seconds(u.Stime), "maxrss": u.Maxrss,
		"ixrss": u.Ixrss, "idrss": u.Idrss, "isrss": u.Isrss, "minflt": u.Minflt, "majflt": u.Majflt, "nswap": u.Nswap,
		"inblock": u.Inblock, "oublock": u.Oublock, "msgsnd": u.Msgsnd, "msgrcv": u.Msgrcv,
		"nsignals": u.Nsignals, "nvcsw": u.Nvcsw, "nivcsw": u.Nivcsw,
	}
}
