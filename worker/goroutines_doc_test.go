package worker_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apium/apium/tasks"
	"github.com/apium/apium/worker"
)

// documented reads the table of goroutines in doc.go: how many there are, by function.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "//	goroutine ")
	_, table, _ = strings.Cut(table, "\n")
	rows := map[string]string{}
	for line := range strings.Lines(table) {
		line, isRow := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "//\t")
		if !isRow {
			break
		}
		columns := regexp.MustCompile(` {2,}`).Split(line, -1)
		if len(columns) != 4 {
			t.Fatalf("%d columns in %q, want 4", len(columns), line)
		}
		rows[columns[0]] = columns[1]
	}
	return rows
}

// TestGoroutinesAreDocumented compares doc.go with what the source starts, both ways.
func TestGoroutinesAreDocumented(t *testing.T) {
	t.Parallel()
	table := documented(t)
	started := startedInSource(t)
	for name, where := range started {
		if _, ok := table[name]; !ok {
			t.Errorf("%s: %s is not in the table of doc.go", where, name)
		}
	}
	for name, many := range table {
		if _, ok := started[name]; !ok && many != "the caller's" && many != "in Worker.Run" {
			t.Errorf("doc.go names %s, and nothing starts it", name)
		}
	}
}

// TestGoroutinesOfARunningWorker compares doc.go with the stacks of a worker that has all there
// is and is idle.
func TestGoroutinesOfARunningWorker(t *testing.T) {
	table := documented(t)
	inBubble(t, func(t *testing.T, b *bench) {
		python := &processes{}
		b.cfg.Autoscale = worker.Autoscale{Max: 4, Min: 3}
		b.cfg.Executors = map[string]worker.ExecutorConfig{"python": {Executor: python, Concurrency: 2}}
		b.reg.Register("app.add", add, tasks.RateLimit("10/s"))
		b.start()
		want := map[string]int{}
		for name, many := range table {
			n, standing := map[string]int{"1": 1, "1 or 2": 1, "2": 2, "1 a pool": 2, "1 a slot": 5, "1 if it scales": 1, "the caller's": 1}[many]
			if standing {
				want[name] = n
			}
		}
		if got := standing(); !maps.Equal(got, want) {
			t.Errorf("goroutines: %v\nwant, as doc.go says: %v", got, want)
		}
	})
}

const pkg = "github.com/apium/apium/worker."

// standing counts the goroutines of this test's bubble by the function of package worker in
// which they spend their lives: the outermost that is not a literal, or that of the literal.
func standing() map[string]int {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	bubble := regexp.MustCompile(`synctest bubble \d+`).Find(buf) // the first stack is this goroutine's
	literal := regexp.MustCompile(`(\.func\d+|\.\d+|\.gowrap\d+|-fm)+$`)
	counts := map[string]int{}
	for stack := range bytes.SplitSeq(buf, []byte("\n\n")) {
		head, frames, _ := strings.Cut(string(stack), "\n")
		if !strings.Contains(head, string(bubble)+"]") && !strings.Contains(head, string(bubble)+",") {
			continue
		}
		name := ""
		for _, frame := range slices.Backward(strings.Split(frames, "\n")) {
			f, ours := strings.CutPrefix(frame, pkg)
			if !ours {
				continue
			}
			f = f[:strings.LastIndexByte(f, '(')]
			f = strings.NewReplacer("(*", "", ")", "").Replace(f)
			if !literal.MatchString(f) {
				name = f
				break
			}
			if name == "" {
				name = literal.ReplaceAllString(f, "")
			}
		}
		if name != "" {
			counts[name]++
		}
	}
	return counts
}

// startedInSource finds what the package starts goroutines and timers for, and where: a method
// that is called, or the function that a longer literal is part of.
func startedInSource(t *testing.T) map[string]string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	// What other packages declare is not needed: only functions of this one are looked up.
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: nothing{}, Error: func(error) {}}
	_, _ = conf.Check(strings.TrimSuffix(pkg, "."), fset, files, info)
	s := &starts{info: info, found: map[string]string{}, fset: fset}
	for _, file := range files {
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok {
				s.enclosing = s.nameOf(f)
				ast.Inspect(f, s.visit)
			}
		}
	}
	return s.found
}

// nothing is an importer that finds no package.
type nothing struct{}

func (nothing) Import(path string) (*types.Package, error) {
	return nil, fmt.Errorf("%s: not here", path)
}

// starts collects what is started.
type starts struct {
	info      *types.Info
	fset      *token.FileSet
	enclosing string
	found     map[string]string
}

func (*starts) nameOf(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver := f.Recv.List[0].Type
	if pointer, ok := receiver.(*ast.StarExpr); ok {
		receiver = pointer.X
	}
	if generic, ok := receiver.(*ast.IndexExpr); ok {
		receiver = generic.X
	}
	return receiver.(*ast.Ident).Name + "." + f.Name.Name
}

func (s *starts) visit(n ast.Node) bool {
	var body ast.Expr
	switch n := n.(type) {
	case *ast.GoStmt:
		body = n.Call.Fun
	case *ast.CallExpr:
		f, ok := n.Fun.(*ast.SelectorExpr)
		if ok && (f.Sel.Name == "Go" && len(n.Args) == 1 || f.Sel.Name == "AfterFunc") {
			body = n.Args[len(n.Args)-1]
		}
	}
	if body != nil {
		name := s.called(body)
		if name == "" {
			name = s.enclosing
		}
		s.found[name] = s.fset.Position(n.Pos()).String()
	}
	return true
}

// called names the function of this package that f is, or that a literal only calls; "" if
// there is none.
func (s *starts) called(f ast.Expr) string {
	switch f := f.(type) {
	case *ast.FuncLit:
		var statements []ast.Stmt
		for _, statement := range f.Body.List {
			if _, deferred := statement.(*ast.DeferStmt); !deferred {
				statements = append(statements, statement)
			}
		}
		if len(statements) == 1 {
			if x, ok := statements[0].(*ast.ExprStmt); ok {
				if call, ok := x.X.(*ast.CallExpr); ok {
					return s.called(call.Fun)
				}
			}
		}
	case *ast.SelectorExpr:
		return s.called(f.Sel)
	case *ast.Ident:
		if object, ok := s.info.Uses[f].(*types.Func); ok && object.Pkg() != nil && object.Pkg().Path()+"." == pkg {
			return strings.NewReplacer("(*", "", ")", "", pkg, "").Replace(object.FullName())
		}
	}
	return ""
}
