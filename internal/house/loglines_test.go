package house_test

import (
	"go/ast"
	"go/token"
	"slices"
	"testing"
)

// Log pipelines group lines by their message: one that names a task, a worker or an error
// needs an event beside it, which JSON logs show instead.
func TestLogLinesHaveAConstantMessage(t *testing.T) {
	t.Parallel()
	found := 0
	eachParsed(t, func(files *token.FileSet, file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && logs(call) {
				found++
				if _, constant := call.Args[0].(*ast.BasicLit); !constant && !slices.ContainsFunc(call.Args, isEvent) {
					t.Errorf("%s: the message of this line varies, and it has no logline.EventKey", files.Position(call.Pos()))
				}
			}
			return true
		})
	})
	if found < 50 {
		t.Errorf("only %d calls of loggers were found", found)
	}
}

// logs tells whether a call is log.Warn(message, …) or the like.
func logs(call *ast.CallExpr) bool {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 || !slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, method.Sel.Name) {
		return false
	}
	name := ""
	switch of := method.X.(type) {
	case *ast.Ident:
		name = of.Name
	case *ast.SelectorExpr:
		name = of.Sel.Name
	}
	return name == "log" || name == "Logger"
}

// isEvent tells whether an argument is logline.EventKey.
func isEvent(arg ast.Expr) bool {
	key, ok := arg.(*ast.SelectorExpr)
	return ok && key.Sel.Name == "EventKey"
}
