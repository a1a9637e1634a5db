package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestServe looks at the page while the story is told, and when it is over.
func TestServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newPipes()
		listen, addresses := n.listen, make(chan string, 100)
		n.listen = func() (net.Listener, error) {
			l, err := listen()
			addresses <- l.Addr().String()
			return l, err
		}
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		var out bytes.Buffer
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, n, []string{"-serve", "-plain", "-for", "20s"}, &out) }()

		time.Sleep(10 * time.Second)
		var address string // of the listener after the five of the upstreams
		for range 6 {
			address = <-addresses
		}
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx, address) }}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		var during, after circuits
		during.get(t, client)
		if len(during.Circuits) != 5 || len(during.Transitions) == 0 {
			t.Errorf("got %+v, want five circuits and some transitions", during)
		}

		time.Sleep(time.Hour)
		after.get(t, client)
		if len(after.Transitions) <= len(during.Transitions) {
			t.Errorf("got %d transitions after %d, want more", len(after.Transitions), len(during.Transitions))
		}
		resp, err := client.PostForm("http://page/force-open", url.Values{"key": {"http://catalog"}})
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("forcing a circuit open: got %v, %v", resp, err)
		}
		_ = resp.Body.Close()
		select {
		case err := <-ended:
			t.Fatalf("it has ended by itself: %v", err)
		default:
		}

		interrupt()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for _, want := range []string{"The circuits are live at http://" + address + "/\n", "The page stays until an interrupt: http://" + address + "/\n"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the output does not say %q", want)
			}
		}
		if _, err := n.dial(t.Context(), address); err == nil {
			t.Error("the page is still there")
		}
	})
}

type circuits struct {
	Circuits    []struct{ Key string }
	Transitions []struct{ To string }
}

func (c *circuits) get(t *testing.T, client *http.Client) {
	t.Helper()
	resp, err := client.Get("http://page/circuits.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(c); err != nil {
		t.Fatal(err)
	}
}

// TestServeInterrupted: an interrupt ends the story, and the page with it. The
// summary stays the last line of -json.
func TestServeInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithTimeout(t.Context(), 5*time.Second)
		defer interrupt()
		var out bytes.Buffer
		if err := run(ctx, newPipes(), []string{"-serve", "-json"}, &out); err != nil {
			t.Fatal(err)
		}
		records := decode(t, &out)
		if last := records[len(records)-1]; last.Type != "summary" {
			t.Errorf("the last record is %+v, want a summary", last)
		}
		if second := records[1]; second.Type != storyEvent || !strings.Contains(second.Text, "live at http://") {
			t.Errorf("the second record is %+v, want the page's URL", second)
		}
	})
}

func TestServeLength(t *testing.T) {
	for _, tt := range []struct {
		args string
		want time.Duration
	}{{"", 20 * time.Second}, {"-serve", 3 * time.Minute}, {"-serve -for 5s", 5 * time.Second}, {"-for 20s -serve", 20 * time.Second}} {
		o, err := parse(strings.Fields(tt.args), io.Discard)
		if err != nil || o.length != tt.want {
			t.Errorf("%q: got %v, %v, want %v", tt.args, o.length, err, tt.want)
		}
	}
}

// TestServeLoopback: nobody else can reach the page.
func TestServeLoopback(t *testing.T) {
	l, err := loopback.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a := l.Addr().(*net.TCPAddr); !a.IP.IsLoopback() {
		t.Errorf("got address %v, want one on loopback", a)
	}
}

func TestTitleNamesPage(t *testing.T) {
	var out bytes.Buffer
	v := played(&out, 100, 30)
	v.board.page = "http://127.0.0.1:8080/"
	for width := 40; width <= 200; width += 20 {
		if got := v.title(width).render(false); !strings.Contains(got, v.board.page) {
			t.Errorf("width %d: got the title %q, want the page's URL in it", width, got)
		}
	}
}
