package compat_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const djangoDir = "testdata/djangoproj"

// djangoBody is what the view answers, whatever becomes of its task.
const djangoBody = `{"code": 0, "msg": "这是一个后台任务"}`

// TestDjango is the whole story: a Django view delays a task and answers at once,
// our worker runs it, Python reads the result.
func TestDjango(t *testing.T) {
	t.Parallel()
	djangoStory(t, startRedis(t))
}

func djangoStory(t *testing.T, server *redisServer) {
	t.Helper()
	a := server.app()
	site := startDjango(t, a)

	// The view does not wait for anybody: there is no worker yet.
	first := browse(t, site+"/test/")
	startWorker(t, a)
	second := browse(t, site+"/test/")
	greeting := browse(t, site+"/greet/?name="+url.QueryEscape("张伟 😀 'quote\" \u2028"))

	var got []any
	djangoResults(t, a, &got, first, second, greeting)
	want := []any{3.0, 3.0, map[string]any{"text": "您好, 张伟 😀 'quote\" \u2028"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("AsyncResult.get() (-want +got):\n%s", diff)
	}
	eventually(t, patience, "the queue and unacked are empty", func() bool { return server.messages(t, "celery") == 0 })
}

// startDjango runs Django's own server and returns its URL.
func startDjango(t *testing.T, a app) string {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	p := start(t, "django", djangoDir, a.env(t), a.python(), "manage.py", "runserver", "--noreload", addr)
	p.waitLog(t, "Quit the server")
	site := "http://" + addr
	eventually(t, patience, "Django accepts connections", func() bool {
		resp, err := http.Get(site + "/none/")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusNotFound
	})
	return site
}

// browse requests a page as a browser does, checks the answer and returns the id
// of the task that the view delayed.
func browse(t *testing.T, page string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"User-Agent":      "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Accept":          "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
		"Accept-Language": "zh-CN,zh;q=0.8,en;q=0.5",
		"Sec-Fetch-Mode":  "navigate",
	} {
		req.Header.Set(name, value)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Jar: jar, Timeout: patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || string(body) != djangoBody {
		t.Fatalf("GET %s: %s\n%s\nwant 200 OK\n%s", page, resp.Status, tail(string(body), 2000), djangoBody)
	}
	return resp.Header.Get("X-Task-Id")
}

// djangoResults asks AsyncResult(id).get() inside the Django project.
func djangoResults(t *testing.T, a app, out any, ids ...string) {
	t.Helper()
	cmd := exec.Command(a.python(), append([]string{"result.py"}, ids...)...)
	cmd.Dir = djangoDir
	cmd.Env = append(os.Environ(), a.env(t)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("result.py: %v\n%s", err, tail(stderr.String(), 3000))
	}
	if err := json.Unmarshal(stdout, out); err != nil {
		t.Fatalf("result.py printed %q: %v", stdout, err)
	}
}
