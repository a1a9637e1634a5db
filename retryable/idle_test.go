package retryable_test

import (
	"net/http"
	"net/http/httptrace"
	"testing"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/retryable"
)

// TestIdleConnectionsAreKept: failures and refusals of one host do not cost
// another its connection. The breaker wired by hand shows that they would.
func TestIdleConnectionsAreKept(t *testing.T) {
	const calls = 50
	guarded := func(t *testing.T, rc *retryablehttp.Client) *breakerhttp.Transport { return guard(t, rc) }
	byHand := func(t *testing.T, rc *retryablehttp.Client) *breakerhttp.Transport {
		tr, err := breakerhttp.New(rc.HTTPClient.Transport)
		if err != nil {
			t.Fatal(err)
		}
		rc.HTTPClient.Transport = tr
		rc.CheckRetry = retryable.CheckRetry(rc.CheckRetry)
		return tr
	}
	refuse := func(tr *breakerhttp.Transport, url string) { tr.ForceOpen(url) }
	fail := func(tr *breakerhttp.Transport, url string) { tr.ForceClosed(url) }
	tests := []struct {
		name   string
		wire   func(*testing.T, *retryablehttp.Client) *breakerhttp.Transport
		force  func(tr *breakerhttp.Transport, url string)
		reused int
	}{
		{"guarded, dead host refused", guarded, refuse, calls - 1},
		{"guarded, dead host fails", guarded, fail, calls - 1},
		{"by hand, dead host refused", byHand, refuse, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dead, well := newUpstream(t, http.StatusInternalServerError), newUpstream(t, http.StatusOK)
			rc, _ := newClient(t)
			test.force(test.wire(t, rc), dead.url)
			reused := 0
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				GotConn: func(c httptrace.GotConnInfo) {
					if c.Reused {
						reused++
					}
				},
			})
			for range calls {
				req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, well.url, nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := rc.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				read(t, resp)
				if _, err := rc.Get(dead.url); err == nil {
					t.Fatal("the dead host has answered")
				}
			}
			if conns := int(well.conns.Load()); reused != test.reused || conns != calls-test.reused {
				t.Errorf("%d of %d requests reused a connection, %d were opened; want %d and %d",
					reused, calls, conns, test.reused, calls-test.reused)
			}
		})
	}
}

// TestCloseIdleConnections: what rc may not do, the owner of the Transport may.
func TestCloseIdleConnections(t *testing.T) {
	up := newUpstream(t, http.StatusOK)
	rc, _ := newClient(t)
	tr := guard(t, rc)
	for range 2 {
		resp, err := rc.Get(up.url)
		if err != nil {
			t.Fatal(err)
		}
		read(t, resp)
		tr.CloseIdleConnections()
	}
	if conns := up.conns.Load(); conns != 2 {
		t.Errorf("got %d connections, want 2", conns)
	}
}
