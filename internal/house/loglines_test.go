package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Log pipelines group lines by their message: one that names a task, a worker or an error
// needs an event beside it, which JSON logs show instead.
func TestLogLinesHaveAConstantMessage(t *testing.T) {
	t.Parallel()
	found := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || isModule(path)):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && logs(call) {
				found++
				if _, constant := call.Args[0].(*ast.BasicLit); !constant && !slices.ContainsFunc(call.Args, isEvent) {
					t.Errorf("%s: the message of this line varies, and it has no logline.EventKey", files.Position(call.Pos()))
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
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
