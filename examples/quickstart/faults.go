package main

import "net/http"

// A fault is a way to fail.
type fault struct {
	begins, ends string           // for people
	answer       http.HandlerFunc // nil: nobody listens
}

var (
	overloaded = &fault{
		begins: "its server is overloaded and answers everything with 503",
		ends:   "its server has room again",
		answer: func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "overloaded", http.StatusServiceUnavailable)
		},
	}
	dead = &fault{
		begins: "its server dies: connections are refused",
		ends:   "its server has been restarted",
	}
	hanging = &fault{
		begins: "its server hangs: it takes requests and answers none",
		ends:   "its server answers again",
		answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	}
	truncating = &fault{
		begins: "its server breaks answers off: 200 OK, then half of the body",
		answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(make([]byte, 500)) // net/http closes a connection that owes bytes
		},
	}
)
