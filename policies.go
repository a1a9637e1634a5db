package breakerhttp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
)

// policies are those of a Transport: one for every circuit, and others for some.
type policies struct {
	all   *circuit.Config
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

// newPolicies returns the policies, and all that is wrong with them.
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

// SetPolicies replaces what [WithPolicy] and every [WithHostPolicy] have said, for
// circuits that exist and for those to come. The keys of hosts are patterns as
// WithHostPolicy takes them. If a policy or a pattern is invalid, the error names
// all that is, and nothing changes.
//
// Circuits keep their states, their runs of failures, their totals, their probes
// in flight and their windows, if they are as long as before. An open circuit
// opens no later than it would have, and no later than the new MaxOpenFor allows.
// A rule that is new starts with what is known. A change is no transition.
func (t *Transport) SetPolicies(all Policy, hosts map[string]Policy) error {
	t.mustBeMade()
	list := make([]hostPolicy, 0, len(hosts))
	for pattern, p := range hosts {
		list = append(list, hostPolicy{pattern, p})
	}
	next, errs := newPolicies(all, list, t.key != nil, t.sharing != nil)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t.policies.setting.Lock()
	defer t.policies.setting.Unlock()
	var present []*host
	t.hosts.Locked(func(hosts []*host) { // a circuit made before this is in hosts; one made after it has the new policy
		t.policies.Store(next)
		present = hosts
	})
	for _, h := range present {
		h.setPolicy(next.of(h.key))
	}
	return nil
}

func (h *host) setPolicy(cfg *circuit.Config) {
	by := circuit.Cause{Context: context.Background()}
	h.circuit.SetConfig(&by, h.t.local(h.key, cfg))
	if h.member != nil {
		h.member.SetPolicy(h.t.sharing.policy(cfg))
	}
	h.emit(&by)
}

// local returns the policy as the circuit of a key gets it: without elections if that
// circuit is not shared.
func (t *Transport) local(key string, cfg *circuit.Config) *circuit.Config {
	if !cfg.Elect || t.shares(key) {
		return cfg
	}
	local := *cfg
	local.Elect = false
	return &local
}
