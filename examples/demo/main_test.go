package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLoopback runs on real connections. How busy this machine is decides what
// becomes of the requests, so that is not checked.
func TestLoopback(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, loopback, nil, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "orders   its server is overloaded") || !strings.Contains(out.String(), "▇") {
		t.Errorf("got %s\nwant a server that fails, and requests that are answered", &out)
	}
}

// TestServe looks at the page while the story is told again and again.
func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newPipes()
		listen := n.listen
		var page string // the address of the last listener so far: the page is served when all servers have started
		n.listen = func() (net.Listener, error) {
			l, err := listen()
			page = l.Addr().String()
			return l, err
		}
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		var out bytes.Buffer
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, n, []string{"-serve"}, &out) }()
		synctest.Wait()
		address := page

		time.Sleep(10 * time.Second)
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx, address) }}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		if got := circuits(t, client); got != 5 {
			t.Errorf("got %d circuits, want 5", got)
		}
		resp, err := client.PostForm("http://localhost/force-open", url.Values{"key": {"http://catalog"}})
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("forcing a circuit open: got %v, %v", resp, err)
		}
		_ = resp.Body.Close()
		time.Sleep(time.Minute)
		interrupt()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for want, least := range map[string]int{
			"The circuits are live at http://" + address + "/\n": 1,
			"orders   its server is overloaded":                  3,
			"catalog  OPEN: ":                                    1,
		} {
			if got := strings.Count(out.String(), want); got < least {
				t.Errorf("the output says %q %d times, want %d at least", want, got, least)
			}
		}
		if _, err := n.dial(t.Context(), address); err == nil {
			t.Error("the page is still there")
		}
	})
}

// circuits returns how many the page shows.
func circuits(t *testing.T, client *http.Client) int {
	t.Helper()
	resp, err := client.Get("http://localhost/circuits.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var page struct{ Circuits []struct{ Key string } }
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		t.Fatal(err)
	}
	return len(page.Circuits)
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ arg, want string }{
		{"-for", "not defined"},
		{"now", `unexpected argument "now"`},
	} {
		var out bytes.Buffer
		err := run(t.Context(), loopback, []string{tt.arg}, &out)
		if err == nil || !strings.Contains(err.Error(), tt.want) || out.Len() > 0 {
			t.Errorf("%q: got error %v and output %q, want error %q", tt.arg, err, &out, tt.want)
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), loopback, []string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "-serve") {
		t.Errorf("-h: got %v, %s", err, &out)
	}
}

// TestNoFile: a picture that cannot be written is an error before the show.
func TestNoFile(t *testing.T) {
	var out bytes.Buffer
	file := filepath.Join(t.TempDir(), "missing", "demo.svg")
	if err := run(t.Context(), newPipes(), []string{"-svg", file}, &out); err == nil || out.Len() > 0 {
		t.Errorf("got error %v and output %q, want an error and nothing", err, &out)
	}
}
