package dashboard

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// WithHosts names the hosts that are answered, such as "admin.example.com" or "10.0.0.7". Requests
// with another Host header are answered 403, so that a site that points its own name at this server
// (DNS rebinding) can neither read nor act. Ports do not matter.
//
// The default is every host; with [WithControls] it is localhost and loopback addresses. Name
// "localhost" and "127.0.0.1" too if they are to be answered beside others. Hosts of several
// WithHosts add up. It panics if a host is not a name or an address.
func WithHosts(hosts ...string) Option {
	for _, h := range hosts {
		if hostOf(h) == "" || strings.ContainsAny(h, "/?#@ ") {
			panic(fmt.Sprintf("dashboard: WithHosts: %q is not the name or address of a host", h))
		}
	}
	return optionFunc(func(c *config) {
		for _, h := range hosts {
			if c.hosts == nil {
				c.hosts = map[string]bool{}
			}
			c.hosts[hostOf(h)] = true
		}
	})
}

// answers reports whether requests to a host are answered.
func (c *config) answers(host string) bool {
	switch {
	case c.hosts != nil:
		return c.hosts[host]
	case c.controls:
		return host == "localhost" || loopback(host)
	}
	return true
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// hostOf returns a host without its port, in the same form for all spellings of the host.
func hostOf(hostport string) string {
	host := hostport
	if _, err := netip.ParseAddr(hostport); err != nil { // an IPv6 address without brackets has no port
		host = (&url.URL{Host: hostport}).Hostname()
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String()
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func refuseHost(w http.ResponseWriter, host string) {
	http.Error(w, fmt.Sprintf("This server does not answer to the host %q: dashboard.WithHosts names those that it answers to.", host), http.StatusForbidden)
}
