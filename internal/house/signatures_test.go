package house_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSignatures looks for internal types in what packages export: nobody outside this
// module can name them, so what takes one can only be used from inside.
func TestSignatures(t *testing.T) {
	t.Parallel()
	checker := newTypeChecker(t)
	for dir := range layers {
		if dir == "." || isInternal(dir) || strings.HasPrefix(dir, "tasks/sample") {
			continue
		}
		pkg, err := checker.Import(module + "/" + dir)
		if err != nil {
			t.Fatal(err)
		}
		w := signatureWalk{t: t, seen: map[types.Type]bool{}}
		for _, name := range pkg.Scope().Names() {
			if object := pkg.Scope().Lookup(name); object.Exported() {
				w.object(object, pkg.Name()+"."+name)
			}
		}
	}
}

func isInternal(path string) bool {
	return slices.Contains(strings.Split(path, "/"), "internal")
}

// signatureWalk visits every type that a user of a package meets.
type signatureWalk struct {
	t    *testing.T
	seen map[types.Type]bool
}

// object visits what an exported name stands for.
func (w *signatureWalk) object(object types.Object, where string) {
	if name, ok := object.(*types.TypeName); ok {
		if name.IsAlias() {
			w.visit(types.Unalias(name.Type()), where)
			return
		}
		w.declared(name.Type(), where)
		return
	}
	w.visit(object.Type(), where)
}

// declared visits what a named type is made of, and its exported methods, those it has from
// what it embeds among them.
func (w *signatureWalk) declared(named types.Type, where string) {
	if w.seen[named] {
		return
	}
	w.seen[named] = true
	if _, isInterface := named.Underlying().(*types.Interface); !isInterface {
		for method := range types.NewMethodSet(types.NewPointer(named)).Methods() {
			if method.Obj().Exported() {
				w.visit(method.Type(), where+"."+method.Obj().Name())
			}
		}
	}
	w.visit(named.Underlying(), where)
}

func (w *signatureWalk) visit(typ types.Type, where string) {
	switch typ := typ.(type) {
	case *types.Alias:
		w.visit(types.Unalias(typ), where)
	case *types.Named:
		w.named(typ, where)
	case *types.Pointer:
		w.visit(typ.Elem(), where)
	case *types.Slice:
		w.visit(typ.Elem(), where)
	case *types.Array:
		w.visit(typ.Elem(), where)
	case *types.Chan:
		w.visit(typ.Elem(), where)
	case *types.Map:
		w.visit(typ.Key(), where)
		w.visit(typ.Elem(), where)
	case *types.Signature:
		for variable := range typ.Params().Variables() {
			w.visit(variable.Type(), where)
		}
		for variable := range typ.Results().Variables() {
			w.visit(variable.Type(), where)
		}
		for parameter := range typ.TypeParams().TypeParams() {
			w.visit(parameter.Constraint(), where)
		}
	case *types.Struct:
		for field := range typ.Fields() {
			if field.Exported() || field.Embedded() { // the exported fields of what is embedded are its own
				w.visit(field.Type(), where+"."+field.Name())
			}
		}
	case *types.Interface:
		for method := range typ.Methods() {
			if method.Exported() {
				w.visit(method.Type(), where+"."+method.Name())
			}
		}
	}
}

// named reports an internal type. One of this package that is not exported can be met all
// the same, as the result of a function or when it is embedded: it is looked into.
func (w *signatureWalk) named(typ *types.Named, where string) {
	for argument := range typ.TypeArgs().Types() {
		w.visit(argument, where)
	}
	pkg := typ.Obj().Pkg()
	switch {
	case pkg == nil || !strings.HasPrefix(pkg.Path(), module):
	case isInternal(pkg.Path()):
		w.t.Errorf("%s: its type is of internal package %s", where, pkg.Path())
	case !typ.Obj().Exported():
		w.declared(typ, where)
	}
}

// typeChecker reads the packages of this module itself, so that the test cache sees which
// files it depends on, and those of others as the go command has compiled them.
type typeChecker struct {
	t      *testing.T
	files  *token.FileSet
	read   map[string]*types.Package
	others types.Importer
}

func newTypeChecker(t *testing.T) *typeChecker {
	t.Helper()
	files, compiled := token.NewFileSet(), compiledPackages(t)
	return &typeChecker{t: t, files: files, read: map[string]*types.Package{}, others: importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := compiled[path]
		if !ok {
			return nil, fs.ErrNotExist
		}
		return os.Open(file)
	})}
}

// Import implements types.Importer.
func (c *typeChecker) Import(path string) (*types.Package, error) {
	dir, ours := strings.CutPrefix(path, module+"/")
	if !ours {
		return c.others.Import(path)
	}
	if pkg, ok := c.read[path]; ok {
		return pkg, nil
	}
	info, err := build.ImportDir(filepath.FromSlash(dir), 0)
	if err != nil {
		return nil, err
	}
	var parsed []*ast.File
	for _, name := range info.GoFiles {
		file, err := parser.ParseFile(c.files, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, file)
	}
	pkg, err := (&types.Config{Importer: c, IgnoreFuncBodies: true}).Check(path, c.files, parsed, nil)
	c.read[path] = pkg
	return pkg, err
}

// compiledPackages are the files in which the go command keeps what the packages of others
// export, by their import paths.
func compiledPackages(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for list := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct{ ImportPath, Export string }
		if err := list.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		files[pkg.ImportPath] = pkg.Export
	}
	maps.DeleteFunc(files, func(path, _ string) bool { return strings.HasPrefix(path, module) })
	return files
}
