// Package breakerhttp puts a circuit breaker in front of every host that an
// [net/http.Client] calls.
package breakerhttp
