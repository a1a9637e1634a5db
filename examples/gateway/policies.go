package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/breakerhttp/breakerhttp"
)

// builtIn are the policies without -policies.
//
//go:embed policies.json
var builtIn []byte

// A source is the text of a file such as policies.json.
type source struct {
	file string
	text []byte
}

// set sets the policies of a Transport. Its error names the file, the line and what
// is wrong, and then nothing has changed.
func (s source) set(breaker *breakerhttp.Transport) error {
	all, hosts, err := s.policies()
	if err != nil {
		return err
	}
	if err := breaker.SetPolicies(all, hosts); err != nil {
		return fmt.Errorf("%s: %w", s.file, err)
	}
	return nil
}

func (s source) policies() (all breakerhttp.Policy, hosts map[string]breakerhttp.Policy, err error) {
	var parts, hostParts map[string]json.RawMessage
	if err := json.Unmarshal(s.text, &parts); err != nil {
		at := len(s.text)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = int(syntax.Offset)
		}
		return all, nil, s.wrong(at, err)
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		at, err := s.find(name), error(nil)
		switch name {
		case "all":
			all, at, err = s.policy(parts[name])
		case "hosts":
			if json.Unmarshal(parts[name], &hostParts) != nil {
				err = errors.New("hosts is no JSON object")
			}
		default:
			err = fmt.Errorf("unknown name %q, want all and hosts", name)
		}
		errs = append(errs, s.wrong(at, err))
	}
	hosts = map[string]breakerhttp.Policy{}
	for _, host := range slices.Sorted(maps.Keys(hostParts)) {
		policy, at, err := s.policy(hostParts[host])
		if err == nil {
			at = s.find(host)
			_, err = breakerhttp.New(nil, breakerhttp.WithHostPolicy(host, policy)) // is the host one?
		}
		if err != nil {
			errs = append(errs, s.wrong(at, fmt.Errorf("%s: %w", host, err)))
		}
		hosts[host] = policy
	}
	return all, hosts, errors.Join(errs...)
}

// policy reads a policy. With an error, it returns where in the text the first wrong
// field is, or the policy if it is wrong as a whole.
func (s source) policy(part json.RawMessage) (p breakerhttp.Policy, at int, err error) {
	at = bytes.Index(s.text, part)
	if err = json.Unmarshal(part, &p); err == nil {
		return p, at, nil
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(part, &fields)
	first := len(part)
	for name, value := range fields {
		alone, _ := json.Marshal(map[string]json.RawMessage{name: value})
		if wrong := json.Unmarshal(alone, new(breakerhttp.Policy)); wrong != nil && strings.Contains(err.Error(), wrong.Error()) {
			first = min(first, bytes.Index(part, fmt.Appendf(nil, "%q", name)))
		}
	}
	if first < len(part) {
		at += first
	}
	return p, at, err
}

// find returns where a name is in the text.
func (s source) find(name string) int { return bytes.Index(s.text, fmt.Appendf(nil, "%q", name)) }

// wrong adds file and line to an error.
func (s source) wrong(at int, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s:%d: %w", s.file, 1+bytes.Count(s.text[:max(at, 0)], []byte("\n")), err)
}
