package client

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/apium/apium/protocol/canvas"
	"github.com/apium/apium/protocol/pyjson"
)

// errTuple is what comes of a result that is not in the form of Python's as_tuple:
// [[id, parent], members], where the members of a single task are null.
var errTuple = errors.New("not [[id, parent], members]")

// maxNesting bounds the depth of a result tree. Python gives up sooner, on its recursion limit.
const maxNesting = 1000

// appendTuple writes the result as Python's as_tuple does.
func (r *AsyncResult) appendTuple(dst []byte) []byte { return r.canvasResult().Append(dst) }

// MarshalJSON writes the result as Python's as_tuple does; its result_from_tuple reads that.
func (r *AsyncResult) MarshalJSON() ([]byte, error) { return r.appendTuple(nil), nil }

// MarshalJSON writes the results as Python's as_tuple does; its result_from_tuple reads that.
func (g *GroupResult) MarshalJSON() ([]byte, error) {
	group := &AsyncResult{ID: g.ID, group: g}
	if g.result != nil {
		group.parent = g.result.parent
	}
	return group.appendTuple(nil), nil
}

// canvasResult is the inverse of Client.resultOf.
func (r *AsyncResult) canvasResult() *canvas.Result {
	if r == nil {
		return nil
	}
	result := &canvas.Result{ID: r.ID, Parent: r.parent.canvasResult(), Group: r.group != nil}
	if r.group != nil {
		for _, member := range r.group.Members {
			result.Members = append(result.Members, member.canvasResult())
		}
	}
	return result
}

// resultsOf reads an array of results, or null.
func (c *Client) resultsOf(raw []byte) ([]*AsyncResult, error) { return c.decodeList(raw, 0) }

// decodeTuple reads a result. The id alone may stand in the place of [id, parent], as
// Celery before 4.0 writes it.
func (c *Client) decodeTuple(raw []byte) (*AsyncResult, error) { return c.decodeNested(raw, 0) }

func (c *Client) decodeList(raw []byte, depth int) (results []*AsyncResult, err error) {
	if len(raw) == 0 || pyjson.Kind(raw) == 'n' {
		return nil, nil
	}
	var list []json.RawMessage
	if err := pyjson.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	for _, element := range list {
		result, err := c.decodeNested(element, depth)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

func (c *Client) decodeNested(raw []byte, depth int) (*AsyncResult, error) {
	if depth > maxNesting {
		return nil, errors.New("results are nested too deep")
	}
	var parts []json.RawMessage
	if err := pyjson.Unmarshal(raw, &parts); err != nil || len(parts) != 2 {
		return nil, fmt.Errorf("%w: %.100s", errTuple, raw)
	}
	own := parts[:1]
	if pyjson.Kind(parts[0]) == '[' {
		own = nil
		if err := pyjson.Unmarshal(parts[0], &own); err != nil || len(own) == 0 {
			return nil, fmt.Errorf("%w: %.100s", errTuple, raw)
		}
	}
	result := &AsyncResult{client: c}
	var err error
	if result.ID, err = pyjson.Unquote(own[0]); err != nil {
		return nil, fmt.Errorf("%w: %.100s", errTuple, raw)
	}
	if len(own) > 1 && pyjson.Kind(own[1]) == '[' {
		if result.parent, err = c.decodeNested(own[1], depth+1); err != nil {
			return nil, err
		}
	}
	if pyjson.Kind(parts[1]) == '[' {
		result.group = &GroupResult{ID: result.ID, result: result}
		if result.group.Members, err = c.decodeList(parts[1], depth+1); err != nil {
			return nil, err
		}
	}
	return result, nil
}
