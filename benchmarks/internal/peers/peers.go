// Package peers puts other circuit breakers in front of many hosts, each in the
// way its users do it, with its defaults.
package peers

import (
	"errors"
	"net/http"
	"sync"

	"github.com/afex/hystrix-go/hystrix"
	failsafego "github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/adaptivethrottler"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	aegis "github.com/go-kratos/aegis/circuitbreaker"
	"github.com/go-kratos/aegis/circuitbreaker/sre"
	rubyist "github.com/rubyist/circuitbreaker"
	"github.com/sony/gobreaker/v2"
	handy "github.com/streadway/handy/breaker"
	gozero "github.com/zeromicro/go-zero/core/breaker"
)

// A RoundTripFunc is an [http.RoundTripper].
type RoundTripFunc func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f RoundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// perHost is what the users of a circuit breaker that knows no hosts write: a
// map with one for each.
type perHost[B any] struct {
	breakers sync.Map // host → B
	create   func(host string) B
	send     func(B, *http.Request) (*http.Response, error)
}

// RoundTrip implements [http.RoundTripper].
func (p *perHost[B]) RoundTrip(req *http.Request) (*http.Response, error) {
	b, ok := p.breakers.Load(req.URL.Host)
	if !ok {
		b, _ = p.breakers.LoadOrStore(req.URL.Host, p.create(req.URL.Host))
	}
	return p.send(b.(B), req)
}

// errStatus makes a response a failure for a breaker that judges by errors.
var errStatus = errors.New("status 500 or above")

// Judge returns the error of a call, which a status of 500 or above is too.
func Judge(resp *http.Response, err error) error {
	if err == nil && resp.StatusCode >= 500 {
		return errStatus
	}
	return err
}

// Unjudge undoes [Judge]: the caller gets the response.
func Unjudge(resp *http.Response, err error) (*http.Response, error) {
	if err == errStatus { //nolint:errorlint // is never wrapped
		return resp, nil
	}
	return resp, err
}

// Gobreaker guards by sony/gobreaker.
func Gobreaker(base http.RoundTripper) http.RoundTripper {
	return &perHost[*gobreaker.CircuitBreaker[*http.Response]]{
		create: func(host string) *gobreaker.CircuitBreaker[*http.Response] {
			return gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{Name: host})
		},
		send: func(b *gobreaker.CircuitBreaker[*http.Response], req *http.Request) (*http.Response, error) {
			return Unjudge(b.Execute(func() (*http.Response, error) {
				resp, err := base.RoundTrip(req)
				return resp, Judge(resp, err)
			}))
		},
	}
}

// Failsafe guards by failsafe-go's circuit breaker.
func Failsafe(base http.RoundTripper) http.RoundTripper {
	return failsafe(base, func() failsafego.Policy[*http.Response] {
		return circuitbreaker.NewBuilder[*http.Response]().HandleIf(isFailure).Build()
	})
}

// Throttler guards by failsafe-go's adaptive throttler.
func Throttler(base http.RoundTripper) http.RoundTripper {
	return failsafe(base, func() failsafego.Policy[*http.Response] {
		return adaptivethrottler.NewBuilder[*http.Response]().HandleIf(isFailure).Build()
	})
}

func failsafe(base http.RoundTripper, policy func() failsafego.Policy[*http.Response]) http.RoundTripper {
	return &perHost[http.RoundTripper]{
		create: func(string) http.RoundTripper { return failsafehttp.NewRoundTripper(base, policy()) },
		send:   http.RoundTripper.RoundTrip,
	}
}

func isFailure(resp *http.Response, err error) bool { return Judge(resp, err) != nil }

// Rubyist guards by rubyist/circuitbreaker.
func Rubyist(base http.RoundTripper) http.RoundTripper {
	return &perHost[*rubyist.Breaker]{
		create: func(string) *rubyist.Breaker { return rubyist.NewConsecutiveBreaker(5) },
		send: func(b *rubyist.Breaker, req *http.Request) (resp *http.Response, err error) {
			err = b.Call(func() error {
				resp, err = base.RoundTrip(req)
				return Judge(resp, err)
			}, 0)
			return Unjudge(resp, err)
		},
	}
}

// Aegis guards by the breaker of aegis.
func Aegis(base http.RoundTripper) http.RoundTripper {
	return &perHost[aegis.CircuitBreaker]{
		create: func(string) aegis.CircuitBreaker { return sre.NewBreaker() },
		send: func(b aegis.CircuitBreaker, req *http.Request) (*http.Response, error) {
			if err := b.Allow(); err != nil {
				return nil, err
			}
			resp, err := base.RoundTrip(req)
			if Judge(resp, err) != nil {
				b.MarkFailed()
			} else {
				b.MarkSuccess()
			}
			return resp, err
		},
	}
}

// GoZero guards by the breakers of go-zero, from the map that it brings: one for
// each host and process.
func GoZero(base http.RoundTripper) http.RoundTripper {
	return RoundTripFunc(func(req *http.Request) (resp *http.Response, err error) {
		err = gozero.GetBreaker(req.URL.Host).Do(func() error {
			resp, err = base.RoundTrip(req)
			return Judge(resp, err)
		})
		return Unjudge(resp, err)
	})
}

// Handy guards by streadway/handy.
func Handy(base http.RoundTripper) http.RoundTripper {
	succeeded := func(resp *http.Response) bool { return resp.StatusCode < 500 }
	return &perHost[http.RoundTripper]{
		create: func(string) http.RoundTripper {
			return handy.Transport(handy.NewBreaker(0.5), succeeded, base)
		},
		send: http.RoundTripper.RoundTrip,
	}
}

// Hystrix guards by hystrix-go, from the map that it brings: one circuit for each
// host and process.
func Hystrix(base http.RoundTripper) http.RoundTripper {
	return RoundTripFunc(func(req *http.Request) (*http.Response, error) {
		var resp *http.Response
		err := hystrix.Do(req.URL.Host, func() (err error) {
			resp, err = base.RoundTrip(req)
			return Judge(resp, err)
		}, nil)
		return Unjudge(resp, err)
	})
}
