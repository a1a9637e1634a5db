package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// An api answers GET / with a planet that it fetches from upstream.
type api struct {
	client   *http.Client
	upstream string
	log      *slog.Logger
}

// An answer is what callers of the api get, whatever happened.
type answer struct {
	StatusCode int             `json:"status_code"`
	Success    bool            `json:"success"`
	Message    string          `json:"message"`
	Data       json.RawMessage `json:"data,omitempty"`
}

// newAPI returns the api as a handler. Five failures of upstream in a row open
// its circuit for openFor.
func newAPI(upstream string, openFor time.Duration, log *slog.Logger) (http.Handler, error) {
	t, err := breakerhttp.New(nil,
		breakerhttp.WithName("planets"),
		breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 5, OpenFor: openFor}),
		breakerhttp.WithTransitionHook(breakerhttp.LogTransitions(log)),
	)
	if err != nil {
		return nil, err
	}
	a := &api{client: &http.Client{Transport: t, Timeout: 5 * time.Second}, upstream: upstream, log: log}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", a)
	return mux, nil
}

func (a *api) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	planet, err := a.fetch(req)
	var open *breakerhttp.OpenError
	switch {
	case errors.As(err, &open): // nothing was sent
		if open.RetryAfter > 0 { // otherwise it is not known
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(open.RetryAfter.Seconds()))))
		}
		a.write(w, http.StatusServiceUnavailable, answer{Message: "Circuit breaker active: " + open.Reason})
	case err != nil:
		a.log.ErrorContext(req.Context(), "request failed", "error", err)
		a.write(w, http.StatusServiceUnavailable, answer{Message: "Request failed: " + err.Error()})
	default:
		a.write(w, http.StatusOK, answer{Success: true, Message: "Here is a planet", Data: planet})
	}
}

func (a *api) fetch(req *http.Request) (json.RawMessage, error) {
	out, err := http.NewRequestWithContext(req.Context(), http.MethodGet, a.upstream, nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.client.Do(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the planets' API says %s", resp.Status)
	}
	var planet json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&planet); err != nil {
		return nil, fmt.Errorf("the planets' API sent no JSON: %w", err)
	}
	return planet, nil
}

func (a *api) write(w http.ResponseWriter, status int, out answer) {
	out.StatusCode = status
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(out); err != nil {
		a.log.Error("answer not sent", "error", err)
	}
}
