package dynamodbstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store/dynamodbstore"
)

// prompt is how long a method may take to notice that its context is done, or that no server is
// there.
const prompt = 200 * time.Millisecond

func TestServerKilled(t *testing.T) {
	server := servertest.Dynalite(t)
	client := connect(server.URL())
	s := dynamodbstore.New(client, newTable(t, client))
	if err := s.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := swap(t, s, "key", 0, "before", time.Hour)
	server.Kill()
	for range 3 {
		// Nothing is retried, so both return soon.
		if err := servertest.Within(t, prompt, "Load from a dead server", func() error {
			_, err := s.Load(t.Context(), []string{"key"})
			return err
		}); err == nil {
			t.Error("Load from a dead server returned no error")
		}
		if err := servertest.Within(t, prompt, "CompareAndSwap on a dead server", func() error {
			_, _, err := s.CompareAndSwap(t.Context(), "key", before.Version, nil, time.Hour)
			return err
		}); err == nil {
			t.Error("CompareAndSwap on a dead server returned no error")
		}
	}
	servertest.DynaliteAt(t, server.Addr)
	if err := s.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", before.Version, []byte("late"), time.Hour); swapped || cur.Version != 0 || err != nil {
		t.Errorf("swap on a version of the table before = %v, swapped %v, error %v, want it to lose to nothing", cur, swapped, err)
	}
	if after := swap(t, s, "key", 0, "after", time.Hour); after.Version <= before.Version {
		t.Errorf("version %d in the new table, want one higher than %d", after.Version, before.Version)
	}
}

func TestBlackHole(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := dynamodbstore.New(connect("http://"+l.Addr().String()), "table")
	for method, call := range map[string]func(context.Context) error{
		"Load": func(ctx context.Context) error {
			_, err := s.Load(ctx, []string{"key"})
			return err
		},
		"CompareAndSwap": func(ctx context.Context) error {
			_, _, err := s.CompareAndSwap(ctx, "key", 0, nil, time.Hour)
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := servertest.Within(t, 50*time.Millisecond+prompt, method, func() error { return call(ctx) }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: error %v, want %v", method, err, context.DeadlineExceeded)
		}
		cancel()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if err := servertest.Within(t, 50*time.Millisecond+prompt, method, func() error { return call(ctx) }); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want %v", method, err, context.Canceled)
		}
	}
}

// A request that fails is sent once, even by a client that retries.
func TestNothingRetried(t *testing.T) {
	for name, fail := range map[string]http.HandlerFunc{
		"throttled": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}`)
		},
		"unavailable": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"garbage":     func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"cut off":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if sent.Add(1) == 1 {
					fmt.Fprint(w, `{}`) // so that the time is known
					return
				}
				fail(w, r)
			}))
			defer server.Close()
			s := dynamodbstore.New(connect(server.URL, func(o *dynamodb.Options) {
				o.Retryer = retry.AddWithMaxAttempts(retry.NewStandard(), 4)
				o.RetryMaxAttempts = 4
			}), "table")
			load(t, s, "key")
			if items, err := s.Load(t.Context(), []string{"key"}); err == nil {
				t.Errorf("Load = %v, want an error", items)
			}
			if got := sent.Swap(1) - 1; got != 1 {
				t.Errorf("Load sent %d requests, want 1", got)
			}
			if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", 1, nil, time.Hour); err == nil {
				t.Errorf("CompareAndSwap = %v, swapped %v, want an error", cur, swapped)
			}
			if got := sent.Load() - 1; got != 1 {
				t.Errorf("CompareAndSwap sent %d requests, want 1", got)
			}
		})
	}
}

// Reads are consistent: others might not see the swap that has just been made.
func TestReadsAreConsistent(t *testing.T) {
	var sent string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = string(body)
		fmt.Fprint(w, `{"Responses":{"table":[]}}`)
	}))
	defer server.Close()
	load(t, dynamodbstore.New(connect(server.URL), "table"), "key")
	if !strings.Contains(sent, `"ConsistentRead":true`) {
		t.Errorf("Load sent %s, want ConsistentRead", sent)
	}
}

// A key that a throttled table leaves out of its answer is not reported as absent.
func TestUnprocessedKeys(t *testing.T) {
	const row = `{"key":{"S":"a"},"value":{"B":"dmFsdWU="},"version":{"N":"7"},"written":{"N":"1"},"expires":{"N":"99999999999"}}`
	for name, test := range map[string]struct {
		answer string
		errs   []bool // of each key; none if the Load fails
	}{
		"one of two": {`{"Responses":{"table":[` + row + `]},"UnprocessedKeys":{"table":{"Keys":[{"key":{"S":"b"}}]}}}`, []bool{false, true}},
		"absent":     {`{"Responses":{"table":[]},"UnprocessedKeys":{"table":{"Keys":[{"key":{"S":"b"}}]}}}`, []bool{false, true}},
		"all":        {`{"Responses":{"table":[]},"UnprocessedKeys":{"table":{"Keys":[{"key":{"S":"a"}},{"key":{"S":"b"}}]}}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, test.answer) }))
			defer server.Close()
			items, err := dynamodbstore.New(connect(server.URL), "table").Load(t.Context(), []string{"a", "b"})
			if test.errs == nil {
				if err == nil || !strings.Contains(err.Error(), "throttled") {
					t.Errorf("Load = %v, error %v, want one that says the table is throttled", items, err)
				}
				return
			}
			if err != nil || len(items) != 2 || (items[0].Err != nil) != test.errs[0] || (items[1].Err != nil) != test.errs[1] {
				t.Fatalf("Load = %v, error %v, want errors of the items: %v", items, err, test.errs)
			}
			if !strings.Contains(items[1].Err.Error(), "throttled") {
				t.Errorf("item error %q, want one that says the table is throttled", items[1].Err)
			}
		})
	}
}

// If a request for a hundred keys fails, the store fails, and not each of the keys.
func TestOneRequestOfSeveralFails(t *testing.T) {
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sent.Add(1) == 2 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, `{"Responses":{"table":[]}}`)
	}))
	defer server.Close()
	var keys []string
	for i := range 250 {
		keys = append(keys, fmt.Sprint(i))
	}
	if items, err := dynamodbstore.New(connect(server.URL), "table").Load(t.Context(), keys); err == nil {
		t.Errorf("Load = %d items, want an error", len(items))
	}
	if got := sent.Load(); got != 3 {
		t.Errorf("%d requests for 250 keys, want 3", got)
	}
}

// A process that may not write gets an error from each swap, and can still read.
func TestMayNotWrite(t *testing.T) {
	server := servertest.Dynalite(t)
	client := connect(server.URL())
	table := newTable(t, client)
	direct := dynamodbstore.New(client, table)
	if err := direct.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := swap(t, direct, "key", 0, "value", time.Hour)
	endpoint := startProxy(t, server.URL(), func(answer *http.Response) error {
		if strings.HasSuffix(answer.Request.Header.Get("X-Amz-Target"), ".UpdateItem") {
			answer.StatusCode = http.StatusBadRequest
			answer.Header.Del("X-Amz-Crc32")
			text := `{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"not authorized to perform: dynamodb:UpdateItem"}`
			answer.Body, answer.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			answer.Header.Set("Content-Length", fmt.Sprint(len(text)))
		}
		return nil
	})
	s := dynamodbstore.New(connect(endpoint), table)
	for _, old := range []uint64{want.Version, 0} {
		if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", old, nil, time.Hour); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
			t.Errorf("CompareAndSwap = %v, swapped %v, error %v, want AccessDenied", cur, swapped, err)
		}
	}
	if got := load(t, s, "key"); got.Version != want.Version {
		t.Errorf("Load: version %d, want %d", got.Version, want.Version)
	}
}

// A swap whose answer got lost has been made. If it were sent again, it would find another version,
// and report that it has lost.
func TestAnswerLost(t *testing.T) {
	server := servertest.Dynalite(t)
	client := connect(server.URL())
	table := newTable(t, client)
	direct := dynamodbstore.New(client, table)
	if err := direct.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sent atomic.Int64
	endpoint := startProxy(t, server.URL(), func(answer *http.Response) error {
		if strings.HasSuffix(answer.Request.Header.Get("X-Amz-Target"), ".UpdateItem") && sent.Add(1) == 1 {
			return errors.New("cut")
		}
		return nil
	})
	s := dynamodbstore.New(connect(endpoint), table)
	if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", 0, []byte("mine"), time.Hour); err == nil {
		t.Errorf("CompareAndSwap = %q, swapped %v, want an error: nobody knows", cur.Value, swapped)
	}
	if got := load(t, direct, "key"); string(got.Value) != "mine" {
		t.Errorf("Load after the lost answer: %q, want %q", got.Value, "mine")
	}
	if got := sent.Load(); got != 1 {
		t.Errorf("the swap was sent %d times, want once", got)
	}
	cur := load(t, s, "key")
	swap(t, s, "key", cur.Version, "next", time.Hour)
}

// startProxy passes requests on to endpoint, and the answers back through change. If change returns
// an error, the connection is cut.
func startProxy(t *testing.T, endpoint string, change func(*http.Response) error) string {
	t.Helper()
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: change,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	t.Cleanup(proxy.Close)
	return proxy.URL
}
