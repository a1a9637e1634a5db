package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/breakerhttp/breakerhttp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var discard = slog.New(slog.DiscardHandler)

// fetch returns what a server answers.
func fetch(t *testing.T, client *http.Client, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// TestProxy: a host that fails gets its own circuit, and the gateway answers for
// it while that is open.
func TestProxy(t *testing.T) {
	asked := 0
	sick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer sick.Close()
	well := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path+" "+r.Header.Get("X-Forwarded-Host"))
	}))
	defer well.Close()
	rs := routes{}
	for _, s := range []string{"sick=" + sick.URL, "well=" + well.URL + "/base", "gone=http://127.0.0.1:1"} {
		if err := rs.Set(s); err != nil {
			t.Fatal(err)
		}
	}
	base := newBase()
	defer base.CloseIdleConnections()
	breaker, err := newBreaker(base, discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := breaker.SetPolicies(breakerhttp.Policy{OpenFor: 30 * time.Second}, nil); err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(newProxy(rs, breaker, discard))
	defer gateway.Close()
	client := newClient(t)

	for range 5 {
		if resp, _ := fetch(t, client, gateway.URL+"/sick/"); resp.StatusCode != http.StatusInternalServerError {
			t.Errorf("sick: got %d, want its own 500", resp.StatusCode)
		}
		if resp, _ := fetch(t, client, gateway.URL+"/gone/"); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("gone: got %d, want 502", resp.StatusCode)
		}
	}
	for _, name := range []string{"sick", "gone"} {
		resp, _ := fetch(t, client, gateway.URL+"/"+name+"/")
		seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != http.StatusServiceUnavailable || err != nil || seconds < 25 || seconds > 30 {
			t.Errorf("%s: got %d, Retry-After %q, want 503 for about 30 s", name, resp.StatusCode, resp.Header.Get("Retry-After"))
		}
	}
	if asked != 5 {
		t.Errorf("the sick host was asked %d times, want 5", asked)
	}
	_, body := fetch(t, client, gateway.URL+"/well/a/b")
	if want := "/base/a/b " + strings.TrimPrefix(gateway.URL, "http://"); body != want {
		t.Errorf("well: got %q, want %q", body, want)
	}
	if resp, _ := fetch(t, client, gateway.URL+"/else/"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("no route: got %d, want 404", resp.StatusCode)
	}
}

func TestAdmin(t *testing.T) {
	breaker, err := breakerhttp.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	breaker.ForceOpen("http://a.test")
	admin := newAdmin(breaker)
	for _, tt := range []struct {
		host, target string
		status       int
	}{
		{"127.0.0.1:8081", "/circuits/", 200},
		{"localhost:8081", "/circuits/circuits.json", 200},
		{"[::1]:8081", "/healthz", 200}, // with a circuit open
		{"localhost", "/", 303},
		{"evil.example:8081", "/circuits/", 403}, // a name that a web page makes resolve to this machine
	} {
		req := httptest.NewRequest(http.MethodGet, tt.target, nil)
		req.Host = tt.host
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, req)
		if w.Code != tt.status {
			t.Errorf("%s of %s: got %d, want %d", tt.target, tt.host, w.Code, tt.status)
		}
	}
}

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-route", "api"}, "no URL"},
		{[]string{"-route", "=http://a.test"}, "want NAME=URL"},
		{[]string{"-route", "a/b=http://a.test"}, "want NAME=URL"},
		{[]string{"-route", "api=ftp://a.test"}, "no URL"},
		{[]string{"-for", "-1s"}, "want 0 or more"},
		{[]string{"extra"}, "unexpected argument"},
		{[]string{"-admin", ":0"}, "want an address on loopback"},
		{[]string{"-listen", "nonsense"}, "nonsense"},
	} {
		if err := run(t.Context(), tt.args, io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want an error with %q", tt.args, err, tt.want)
		}
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "-route") {
		t.Errorf("-h: got %v, %s", err, &out)
	}
}

// TestDemo runs the program as it is without flags, as a user would look at it.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, nil, in)
		_ = in.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(out)
	lines.Scan()
	gateway := strings.TrimPrefix(lines.Text(), "gateway  ")
	lines.Scan()
	page := strings.TrimPrefix(lines.Text(), "circuits ")
	opened := regexp.MustCompile(`msg="circuit open" .*key=http://mail\.example `)
	for !opened.MatchString(lines.Text()) && lines.Scan() {
	}
	var rest strings.Builder
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines.Scan() {
			rest.WriteString(lines.Text() + "\n")
		}
	}()

	client := newClient(t)
	resp, _ := fetch(t, client, gateway+"/mail/")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("mail: got %d, Retry-After %q, want 503 with one", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	if resp, body := fetch(t, client, gateway+"/catalog/"); resp.StatusCode != http.StatusOK {
		t.Errorf("catalog: got %d %s, want 200", resp.StatusCode, body)
	}
	if _, html := fetch(t, client, page); !strings.Contains(html, `data-controls="yes"`) {
		t.Errorf("the page has no controls: %.200s", html)
	}
	resp, err := client.PostForm(page+"force-open", url.Values{"key": {"http://catalog.example"}})
	if err != nil {
		t.Fatal(err)
	}
	var forced struct{ State string }
	if err := json.NewDecoder(resp.Body).Decode(&forced); err != nil || forced.State != "open" {
		t.Errorf("forced open: got %+v, %v", forced, err)
	}
	_ = resp.Body.Close()
	if resp, _ := fetch(t, client, gateway+"/catalog/"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("catalog, forced open: got %d, want 503", resp.StatusCode)
	}

	watched, err := client.Get(page + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer watched.Body.Close()
	cancel()
	if _, err := io.Copy(io.Discard, watched.Body); err != nil {
		t.Errorf("the stream of events ended with %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("got %v, want nil at an interrupt", err)
	}
	<-read
	for _, want := range []string{"/catalog/", "/mail/", "circuit"} {
		if !strings.Contains(rest.String(), want) {
			t.Errorf("the last words are %q, want %q in them", rest.String(), want)
		}
	}
}

func TestEndsByItself(t *testing.T) {
	began := time.Now()
	if err := run(t.Context(), []string{"-for", "300ms"}, io.Discard); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("took %v, want 300 ms or more", took)
	}
	if err := run(t.Context(), []string{"-for", "10ms", "-route", "api=http://127.0.0.1:1"}, io.Discard); err != nil {
		t.Fatal(err)
	}
}
