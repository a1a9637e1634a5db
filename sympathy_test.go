package breakerhttp_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// TestSympathy: when our own network was away and one circuit has recovered, the others that fell
// with it are due at once. Each needs a successful probe of its own.
func TestSympathy(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
	for _, test := range []struct {
		name   string
		hosts  int
		apart  time.Duration // between two falls
		status int           // instead of an error of the network
		dead   int           // hosts that stay dead
		closed int           // circuits, right after the first recovery
	}{
		{"all of ten", 10, 0, 0, 0, 10},
		{"three", 3, 0, 0, 0, 3},
		{"two are chance", 2, 0, 0, 0, 1},
		{"not together", 3, 11 * time.Second, 0, 0, 1},
		{"status codes are the hosts' own", 10, 0, 503, 0, 1},
		{"hosts that are really dead stay open", 10, 0, 0, 4, 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				down := true
				tr := newTransport(t, roundTripFunc(func(req *http.Request) (*http.Response, error) {
					switch dead := strings.HasPrefix(req.URL.Host, "dead"); {
					case !down && !dead:
						return respond(200)(req)
					case test.status != 0:
						return respond(test.status)(req)
					}
					return nil, refused
				}), breakerhttp.WithPolicy(breakerhttp.Policy{OpenGrowth: 2}))
				var hosts []string
				for i := range test.hosts {
					name := "http://alive"
					if i >= test.hosts-test.dead {
						name = "http://dead"
					}
					hosts = append(hosts, fmt.Sprintf("%s%d.test", name, i))
				}
				for _, host := range hosts {
					for range 5 {
						_, _ = get(tr, host)
					}
					wantState(t, tr, host, breakerhttp.StateOpen)
					time.Sleep(test.apart)
				}
				time.Sleep(time.Minute) // the others' probes fail, so that they are open for longer
				for _, host := range hosts[1:] {
					_, _ = get(tr, host)
				}
				down = false
				if _, err := get(tr, hosts[0]); err != nil {
					t.Fatal(err)
				}
				closed := 0
				for _, host := range hosts {
					if _, err := get(tr, host); err == nil {
						wantState(t, tr, host, breakerhttp.StateClosed)
						closed++
					}
				}
				if closed != test.closed {
					t.Errorf("%d circuits are closed, want %d", closed, test.closed)
				}
			})
		})
	}
}
