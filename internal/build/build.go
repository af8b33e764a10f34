// Package build tells what program this is.
package build

import (
	"runtime"
	"runtime/debug"
)

// Module is how this module appears in a program built from it.
const Module = "github.com/apium/apium"

// linked is the version that scripts/wheel gives the program it links.
var linked string

// Version is the module's version as the build knows it, "(devel)" for a build
// from a checkout.
func Version() string {
	if linked != "" {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	if info.Main.Path == Module && info.Main.Version != "" {
		return info.Main.Version
	}
	for _, dep := range info.Deps {
		if dep.Path == Module {
			return dep.Version
		}
	}
	return "(devel)"
}

// Platform is the operating system, the processor and Go's version.
func Platform() string {
	return runtime.GOOS + "-" + runtime.GOARCH + "-" + runtime.Version()
}
