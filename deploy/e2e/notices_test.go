//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
)

// notices are the messages that Alertmanager has sent.
type notices struct {
	addr string

	mu  sync.Mutex
	all []notice
}

// A notice is a message to a receiver about one alert.
type notice struct {
	Receiver    string
	Status      string // firing, resolved
	Labels      labels
	Annotations labels
}

// listenForNotices plays the receivers of deploy/alertmanager.
func listenForNotices(t *testing.T) *notices {
	n := &notices{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var message struct {
			Receiver string
			Alerts   []notice
		}
		err := json.NewDecoder(req.Body).Decode(&message)
		if err != nil || "/"+message.Receiver != req.URL.Path {
			t.Errorf("a message for receiver %q to %s: %v", message.Receiver, req.URL, err)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, a := range message.Alerts {
			a.Receiver = message.Receiver
			n.all = append(n.all, a)
		}
	}))
	t.Cleanup(server.Close)
	n.addr = server.Listener.Addr().String()
	return n
}

// of returns the notices of an alert for a host, oldest first.
func (n *notices) of(alert string, host labels) []notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(n.all), func(got notice) bool {
		return got.Labels["alertname"] != alert || !host.in(got.Labels)
	})
}

// waitFor waits until the receiver gets a notice of an alert for a host.
func (n *notices) waitFor(t *testing.T, receiver, status, alert string, host labels) (got notice) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s to be told that %s is %s for %v", receiver, alert, status, host), func() error {
		all := n.of(alert, host)
		i := slices.IndexFunc(all, func(got notice) bool { return got.Status == status })
		if i < 0 {
			return fmt.Errorf("got %v", all)
		}
		got = all[i]
		return nil
	})
	if got.Receiver != receiver {
		t.Errorf("%s for %v: got receiver %s, want %s", alert, host, got.Receiver, receiver)
	}
	return got
}
