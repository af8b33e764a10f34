package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestWorkerHasOwners: type Worker ties its owners together and does little itself.
func TestWorkerHasOwners(t *testing.T) {
	t.Parallel()
	const most = 40
	paths, err := filepath.Glob("worker/*.go")
	if err != nil {
		t.Fatal(err)
	}
	methods := 0
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv != nil && receiver(f.Recv.List[0].Type) == "Worker" {
				methods++
			}
		}
	}
	if methods == 0 || methods > most {
		t.Errorf("Worker has %d methods, want some and at most %d: give what it does to one of its owners", methods, most)
	}
}

// receiver names the type of a receiver.
func receiver(x ast.Expr) string {
	if pointer, ok := x.(*ast.StarExpr); ok {
		x = pointer.X
	}
	if name, ok := x.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}
