// Package e2e tests what is in deploy. Its tests with the build tag e2e start a
// real Collector, Prometheus and Alertmanager on the loopback interface, with the
// configurations of the neighbouring folders; make e2e runs them.
package e2e
