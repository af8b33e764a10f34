package worker

import (
	"context"
	"errors"
	"testing"
)

// TestRunContext: a context that is made when somebody looks at it is like one that was made before.
func TestRunContext(t *testing.T) {
	reason, later := errors.New("reason"), errors.New("later")
	type key struct{}
	parent := context.WithValue(t.Context(), key{}, "value")
	for name, look := range map[string]func(context.Context){
		"looked at before": func(ctx context.Context) { ctx.Done() },
		"looked at after":  func(context.Context) {},
	} {
		ctx := &runContext{parent: parent}
		look(ctx)
		ctx.stop(reason)
		ctx.stop(later)
		select {
		case <-ctx.Done():
		default:
			t.Errorf("%s: not done", name)
		}
		if ctx.Err() == nil || !errors.Is(context.Cause(ctx), reason) || ctx.Value(key{}) != "value" {
			t.Errorf("%s: %v, caused by %v, value %v", name, ctx.Err(), context.Cause(ctx), ctx.Value(key{}))
		}
	}

	ending, end := context.WithCancelCause(parent)
	ctx := &runContext{parent: ending}
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	if ctx.Err() != nil || child.Err() != nil {
		t.Error("done before its parent is")
	}
	end(reason)
	<-child.Done()
	if !errors.Is(context.Cause(child), reason) || !errors.Is(context.Cause(ctx), reason) {
		t.Errorf("caused by %v and %v", context.Cause(child), context.Cause(ctx))
	}
}
