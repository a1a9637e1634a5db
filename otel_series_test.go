package breakerhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"pgregory.net/rapid"

	"github.com/breakerhttp/breakerhttp"
)

// port80 is the address of an http URL's host.
func port80(host string) string { return "server.address=" + host + ",server.port=80" }

const other = "server.address=_other"

// transitionsOf are the announced transitions of an address.
func transitionsOf(address string, opened, tried, closed, reopened int64) points {
	return points{
		series("transitions", address, "previous_state=closed", "state=open"):      opened,
		series("transitions", address, "previous_state=open", "state=half_open"):   tried,
		series("transitions", address, "previous_state=half_open", "state=closed"): closed,
		series("transitions", address, "previous_state=half_open", "state=open"):   reopened,
	}
}

// TestMaxMetricKeys: circuits beyond the bound are added up.
func TestMaxMetricKeys(t *testing.T) {
	tr, reader := newMetered(t, respondByPath(), breakerhttp.WithMaxMetricKeys(1))
	wantPoints(t, "without a circuit", collectPoints(t, reader), points{"untracked ": 0})

	_, _ = get(tr, "http://own.test/200")
	want := statusOf(port80("own.test"), 1, 0, 0).and(requestsOf(port80("own.test"), 1, 0, 0)).
		and(transitionsOf(port80("own.test"), 0, 0, 0, 0)).and(points{"untracked ": 0})
	wantPoints(t, "with one circuit", collectPoints(t, reader), want)

	for host, paths := range map[string]string{"a": "200 200", "b": "200", "c": "503 503 503 503 503 503", "d": "500 200"} {
		for path := range strings.FieldsSeq(paths) {
			_, _ = get(tr, "http://"+host+".test/"+path)
		}
	}
	want = want.and(statusOf(other, 3, 1, 0)).and(requestsOf(other, 4, 0, 1)).and(transitionsOf(other, 1, 0, 0, 0)).
		and(failuresOf(other, "503", 5)).and(failuresOf(other, "500", 1))
	wantPoints(t, "with five circuits", collectPoints(t, reader), want)

	none, mp := newMeter()
	tr = newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(mp), breakerhttp.WithMaxMetricKeys(0))
	_, _ = get(tr, "http://a.test/200")
	wantPoints(t, "with no series of their own", collectPoints(t, none).of("status"), statusOf(other, 1, 0, 0))
	runtime.KeepAlive(tr)
}

// TestEvictedSeries: the totals of an evicted circuit stay, its status goes, and
// its key finds its series again.
func TestEvictedSeries(t *testing.T) {
	tr, reader := newMetered(t, respondByPath(),
		breakerhttp.WithMaxMetricKeys(1), breakerhttp.WithMaxCircuits(1))
	visit := func(host string) {
		t.Helper()
		for range 2 { // the first look at a used circuit gives it a second chance
			_, _ = get(tr, "http://"+host+"/200")
		}
		if _, ok := tr.Snapshot("http://" + host); !ok {
			t.Fatalf("there is no circuit of %s", host)
		}
	}
	check := func(what string, want points) {
		t.Helper()
		wantPoints(t, what, collectPoints(t, reader).of("status", "requests", "untracked"), want.and(points{"untracked ": 0}))
	}
	own := port80("own.test")
	visit("own.test")
	visit("a.test")
	check("once evicted", requestsOf(own, 2, 0, 0).and(requestsOf(other, 2, 0, 0)).and(statusOf(other, 1, 0, 0)))
	visit("own.test")
	check("once back", requestsOf(own, 4, 0, 0).and(statusOf(own, 1, 0, 0)).and(requestsOf(other, 2, 0, 0)))
	visit("b.test")
	check("once another came", requestsOf(own, 4, 0, 0).and(requestsOf(other, 4, 0, 0)).and(statusOf(other, 1, 0, 0)))
}

// TestLateFailureOfEvictedCircuit: it is not lost.
func TestLateFailureOfEvictedCircuit(t *testing.T) {
	tr, reader := newMetered(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(errorReader{errors.New("cut")}), Request: req}, nil
	}), breakerhttp.WithMaxCircuits(1))
	send := func(url string) *http.Response {
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s: got error %v", url, err)
		}
		return resp
	}
	resp := send("http://a.test/")
	defer resp.Body.Close()
	defer send("http://b.test/").Body.Close()
	if _, ok := tr.Snapshot("http://a.test"); ok {
		t.Fatal("the circuit is still there")
	}
	_, _ = io.ReadAll(resp.Body)
	want := requestsOf(atA, 1, 0, 0).and(failuresOf(atA, "body", 1)).and(requestsOf(port80("b.test"), 1, 0, 0))
	wantPoints(t, "requests", collectPoints(t, reader).of("requests"), want)
}

// TestUntracked: where there is no room for a circuit, that is counted.
func TestUntracked(t *testing.T) {
	tr, reader := newMetered(t, respondByPath(), breakerhttp.WithMaxCircuits(1))
	for range 5 {
		_, _ = get(tr, "http://a.test/503")
	}
	for range 3 {
		_, _ = get(tr, "http://b.test/200")
	}
	got := collectPoints(t, reader)
	wantPoints(t, "untracked", got.of("untracked"), points{"untracked ": 3})
	wantPoints(t, "requests", got.of("requests"), requestsOf(atA, 0, 0, 0).and(failuresOf(atA, "503", 5)))
}

// TestOneAddress: two origins may have the same one. Then the gauge counts.
func TestOneAddress(t *testing.T) {
	tr, reader := newMetered(t, respondByPath(), breakerhttp.WithMaxMetricKeys(2))
	_, _ = get(tr, "https://a.test:80/200")
	_, _ = get(tr, "http://b.test/200")
	wantPoints(t, "status", collectPoints(t, reader).of("status"),
		statusOf(atA, 1, 0, 0).and(statusOf(port80("b.test"), 1, 0, 0)))
	tr.ForceOpen("http://a.test")
	wantPoints(t, "the series are full", collectPoints(t, reader).of("status"),
		statusOf(atA, 1, 0, 0).and(statusOf(port80("b.test"), 1, 0, 0)).and(statusOf(other, 0, 1, 0)))

	tr, reader = newMetered(t, respondByPath())
	_, _ = get(tr, "https://a.test:80/200")
	_, _ = get(tr, "http://a.test/200")
	tr.ForceOpen("http://a.test")
	wantPoints(t, "status", collectPoints(t, reader).of("status"), statusOf(atA, 1, 1, 0))
	wantPoints(t, "requests", collectPoints(t, reader).of("requests"), requestsOf(atA, 2, 0, 0))
}

// neverFalls fails if a counter has fallen or gone since it was seen last.
func neverFalls(t rapid.TB, last, now points) {
	t.Helper()
	for name, n := range last.of("requests", "transitions", "untracked") {
		if got, ok := now[name]; !ok || got < n {
			t.Errorf("%s fell from %d to %d (there: %v)", name, n, got, ok)
		}
	}
}

// TestErrorTypes: an upstream that answers with ever new status codes makes few
// series, and none of them falls when circuits come and go.
func TestErrorTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, reader := newMetered(t, respondByPath(), breakerhttp.WithMaxMetricKeys(1),
			breakerhttp.WithMaxCircuits(4), breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 1 << 30, Window: time.Second}))
		var last points
		for i := range 60 {
			for code := range 10 {
				_, _ = get(tr, fmt.Sprintf("http://host%d.test/%d", i%8, 500+(i*10+code)%100))
			}
			now := collectPoints(t, reader)
			neverFalls(t, last, now)
			last = now
			time.Sleep(700 * time.Millisecond)
		}
		failures := map[string]int64{}
		types := map[string]int{}
		for name, n := range last.of("requests") {
			if strings.Contains(name, "outcome=failure") {
				_, address, _ := strings.Cut(name, "server.address=")
				failures[address] += n
				types[address]++
			}
		}
		if diff := cmp.Diff(map[string]int{"host0.test,server.port=80": 16, "_other": 16}, types); diff != "" {
			t.Errorf("error types (-want +got):\n%s", diff)
		}
		if sum := failures["host0.test,server.port=80"] + failures["_other"]; sum != 600-last["untracked "] {
			t.Errorf("got %d failures, want %d", sum, 600-last["untracked "])
		}
		if n := last[series("requests", other, "outcome=failure", "error.type=_OTHER")]; n == 0 {
			t.Error("no failure is of the type _OTHER")
		}
	})
}

// TestSDKLimit: by default, the SDK's 2000 sets of attributes an instrument are
// enough; and where they are not, it adds up the same ones each time.
func TestSDKLimit(t *testing.T) {
	tr, reader := newMetered(t, respondByPath())
	for i := range 700 {
		_, _ = get(tr, fmt.Sprintf("http://host%d.test/200", i))
	}
	for range 5 {
		_, _ = get(tr, "http://host499.test/500")
	}
	got := collectPoints(t, reader)
	for name := range got {
		if strings.Contains(name, "overflow") {
			t.Errorf("the SDK has no room: %s", name)
		}
	}
	wantPoints(t, "the last of 500", got.of("transitions").matching("host499"), transitionsOf(port80("host499.test"), 1, 0, 0, 0))
	wantPoints(t, "the last of 500", got.of("status").matching("host499"), statusOf(port80("host499.test"), 0, 1, 0))
	wantPoints(t, "the others", got.of("status").matching(other), statusOf(other, 200, 0, 0))
	wantPoints(t, "the others", got.of("transitions").matching(other), transitionsOf(other, 0, 0, 0, 0))

	reader, mp := newMeter(sdkmetric.WithCardinalityLimit(50))
	tr = newTransport(t, respondByPath(), breakerhttp.WithMeterProvider(mp), breakerhttp.WithMaxMetricKeys(30))
	var last points
	for range 20 {
		for i := range 40 {
			_, _ = get(tr, fmt.Sprintf("http://host%d.test/%d", i, []int{200, 500}[i/20]))
		}
		now := collectPoints(t, reader)
		neverFalls(t, last, now)
		last = now
	}
	runtime.KeepAlive(tr)
}
