// Package clients tries what docs/clients.md says about other HTTP clients, with
// their real modules and servers on loopback. It is a module of its own, so that
// users of breakerhttp link none of them.
package clients
