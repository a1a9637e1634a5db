package breakerhttp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// policies are the policies of a Transport, as circuits take them.
type policies struct {
	all   *circuit.Config            // for circuits that no pattern matches
	hosts map[string]*circuit.Config // by normal pattern
}

// livePolicies are the policies in force.
type livePolicies struct {
	atomic.Pointer[policies]
	setting sync.Mutex // held by SetPolicies
}

type hostPolicy struct {
	pattern string
	policy  Policy
}

// newPolicies returns the policies, and an error for each thing that is wrong with them.
func newPolicies(all Policy, hosts []hostPolicy, customKey, shared bool) (*policies, []error) {
	var errs []error
	if err := all.Validate(); err != nil {
		errs = append(errs, err)
	}
	p := &policies{all: all.config(shared), hosts: make(map[string]*circuit.Config, len(hosts))}
	for _, hp := range hosts {
		if err := hp.policy.validate(fmt.Sprintf("WithHostPolicy(%q): Policy", hp.pattern)); err != nil {
			errs = append(errs, err)
		}
		pattern, err := normalPattern(hp.pattern, customKey)
		if err != nil {
			errs = append(errs, fmt.Errorf("breakerhttp: WithHostPolicy: %w", err))
			continue
		}
		if _, twice := p.hosts[pattern]; twice {
			errs = append(errs, fmt.Errorf("breakerhttp: WithHostPolicy(%q): another policy has the same pattern", hp.pattern))
		}
		p.hosts[pattern] = hp.policy.config(shared)
	}
	return p, errs
}

// of returns the policy of a circuit's key.
func (p *policies) of(key string) *circuit.Config {
	if cfg, ok := matchPolicy(p.hosts, key); ok {
		return cfg
	}
	return p.all
}

// SetPolicies replaces the policies that [WithPolicy] and [WithHostPolicy] have set, for circuits
// that exist and for those to come. The keys of hosts are patterns as WithHostPolicy takes them. If
// anything is invalid, nothing changes, and the error names every invalid policy and pattern.
//
// A circuit keeps its state, its run of failures, its totals, its probes in flight, and its window
// if the new policy has one of the same length. Otherwise a rule that needs a window starts with an
// empty one. An open circuit admits its first probe when it would have, or earlier if it would stay
// open for longer than the new MaxOpenFor. A new policy is not a transition.
func (t *Transport) SetPolicies(all Policy, hosts map[string]Policy) error {
	t.mustBeMade()
	list := make([]hostPolicy, 0, len(hosts))
	for _, pattern := range slices.Sorted(maps.Keys(hosts)) {
		list = append(list, hostPolicy{pattern, hosts[pattern]})
	}
	next, errs := newPolicies(all, list, t.key != nil, t.sharing != nil)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, emit := range t.replacePolicies(next) {
		defer emit() // even if the hook panics for another
	}
	return nil
}

// replacePolicies returns functions that emit what was due before the new policies.
func (t *Transport) replacePolicies(next *policies) (emits []func()) {
	t.policies.setting.Lock()
	defer t.policies.setting.Unlock()
	var present []*host
	// A circuit made before this is in hosts. One made after it has the new policy.
	t.hosts.Locked(func(hosts []*host) {
		t.policies.Store(next)
		present = hosts
	})
	for _, h := range present {
		if emit := h.setPolicy(next.of(h.key)); emit != nil {
			emits = append(emits, emit)
		}
	}
	return emits
}

func (h *host) setPolicy(cfg *circuit.Config) (emit func()) {
	by := circuit.Cause{Context: context.Background()}
	h.circuit.SetConfig(&by, h.own(cfg))
	if h.member != nil {
		h.member.SetPolicy(h.t.sharing.policy(cfg))
	}
	return h.emitter(by)
}

// own returns cfg as the circuit of h takes it: without elections if it is not shared.
func (h *host) own(cfg *circuit.Config) *circuit.Config {
	if !cfg.Elect || h.member != nil {
		return cfg
	}
	local := *cfg
	local.Elect = false
	return &local
}

// normalPattern returns the pattern of a host policy as matchPolicy looks for it:
// "https://host:port", without the port if it is the scheme's own, "host:port", "host" or
// "*.domain". A custom KeyFunc may return anything, so with one a pattern other than "*.domain"
// stays as it is. The error lacks the package's prefix.
func normalPattern(pattern string, customKey bool) (string, error) {
	normal := ""
	switch domain, wildcard := strings.CutPrefix(pattern, "*."); {
	case wildcard:
		if host, port, ok := splitHost(domain); ok && port < 0 && host[0] != '[' && !strings.Contains(host, "*") {
			normal = "*." + host
		}
	case strings.HasPrefix(pattern, "*"):
	case customKey:
		normal = pattern
	case strings.Contains(pattern, "*"):
	case strings.Contains(pattern, "://"):
		scheme, host, _ := strings.Cut(strings.TrimSuffix(pattern, "/"), "://")
		normal = origin(&url.URL{Scheme: scheme, Host: host})
	default:
		if host, port, ok := splitHost(strings.TrimSuffix(pattern, "/")); ok {
			normal = string(appendHost(nil, host, port))
		}
	}
	if normal != "" {
		return normal, nil
	}
	want := `"host", "host:port", "https://host:port" or "*.domain"`
	if customKey {
		want = `an exact key, "host", "host:port" or "*.domain"`
	}
	return "", fmt.Errorf("pattern %q is no host: want %s", pattern, want)
}

// matchPolicy returns the value of the most specific of the normal patterns that
// match a circuit's key: the key itself, its host and port, its host, its longest
// wildcard. A custom key that reads as a canonical host, or host and port, has
// the last three too.
func matchPolicy[V any](patterns map[string]V, key string) (v V, ok bool) {
	if len(patterns) == 0 {
		return v, false
	}
	if v, ok = patterns[key]; ok {
		return v, true
	}
	host, port, ok := splitOrigin(key)
	if !ok {
		host, port, ok = splitHost(key)
		if !ok || string(appendHost(nil, host, port)) != key {
			return v, false
		}
	}
	b := appendHost(nil, host, port)
	for _, pattern := range [][]byte{b, b[:len(host)]} {
		if v, ok = patterns[string(pattern)]; ok {
			return v, true
		}
	}
	// Each wildcard overwrites the byte before its dot, which no later one needs. So even a name
	// with many labels is copied only once.
	for i, c := range []byte(host) {
		if c == '.' {
			b[i-1] = '*'
			if v, ok = patterns[string(b[i-1:len(host)])]; ok {
				return v, true
			}
		}
	}
	return v, false
}
