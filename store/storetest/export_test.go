package storetest

import (
	"testing"
	"testing/synctest"

	"github.com/breakerhttp/breakerhttp/store"
)

// RunVirtual is Run in virtual time, for stores that live in this process.
func RunVirtual(t *testing.T, open func(t *testing.T) store.Store) {
	for _, rule := range rules {
		t.Run(rule.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { rule.check(newTrial(t, open(t))) })
		})
	}
}

func RuleNames() []string {
	var names []string
	for _, rule := range rules {
		names = append(names, rule.name)
	}
	return names
}
