package main

import (
	"errors"
	"net/http"
	"sync"

	"github.com/afex/hystrix-go/hystrix"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	aegis "github.com/go-kratos/aegis/circuitbreaker"
	"github.com/go-kratos/aegis/circuitbreaker/sre"
	rubyist "github.com/rubyist/circuitbreaker"
	"github.com/sony/gobreaker/v2"
	handy "github.com/streadway/handy/breaker"
	gozero "github.com/zeromicro/go-zero/core/breaker"
)

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

func judge(resp *http.Response, err error) error {
	if err == nil && resp.StatusCode >= 500 {
		return errStatus
	}
	return err
}

// unjudge undoes judge: the caller gets the response.
func unjudge(resp *http.Response, err error) (*http.Response, error) {
	if err == errStatus { //nolint:errorlint // is never wrapped
		return resp, nil
	}
	return resp, err
}

func guardGobreaker(base http.RoundTripper) http.RoundTripper {
	return &perHost[*gobreaker.CircuitBreaker[*http.Response]]{
		create: func(host string) *gobreaker.CircuitBreaker[*http.Response] {
			return gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{Name: host})
		},
		send: func(b *gobreaker.CircuitBreaker[*http.Response], req *http.Request) (*http.Response, error) {
			return unjudge(b.Execute(func() (*http.Response, error) {
				resp, err := base.RoundTrip(req)
				return resp, judge(resp, err)
			}))
		},
	}
}

func guardFailsafe(base http.RoundTripper) http.RoundTripper {
	return &perHost[http.RoundTripper]{
		create: func(string) http.RoundTripper {
			return failsafehttp.NewRoundTripper(base, circuitbreaker.NewBuilder[*http.Response]().
				HandleIf(func(resp *http.Response, err error) bool { return judge(resp, err) != nil }).
				Build())
		},
		send: http.RoundTripper.RoundTrip,
	}
}

func guardRubyist(base http.RoundTripper) http.RoundTripper {
	return &perHost[*rubyist.Breaker]{
		create: func(string) *rubyist.Breaker { return rubyist.NewConsecutiveBreaker(5) },
		send: func(b *rubyist.Breaker, req *http.Request) (resp *http.Response, err error) {
			err = b.Call(func() error {
				resp, err = base.RoundTrip(req)
				return judge(resp, err)
			}, 0)
			return unjudge(resp, err)
		},
	}
}

func guardAegis(base http.RoundTripper) http.RoundTripper {
	return &perHost[aegis.CircuitBreaker]{
		create: func(string) aegis.CircuitBreaker { return sre.NewBreaker() },
		send: func(b aegis.CircuitBreaker, req *http.Request) (*http.Response, error) {
			if err := b.Allow(); err != nil {
				return nil, err
			}
			resp, err := base.RoundTrip(req)
			if judge(resp, err) != nil {
				b.MarkFailed()
			} else {
				b.MarkSuccess()
			}
			return resp, err
		},
	}
}

// guardGoZero uses the map that go-zero brings.
func guardGoZero(base http.RoundTripper) http.RoundTripper {
	return roundTripFunc(func(req *http.Request) (resp *http.Response, err error) {
		err = gozero.GetBreaker(req.URL.Host).Do(func() error {
			resp, err = base.RoundTrip(req)
			return judge(resp, err)
		})
		return unjudge(resp, err)
	})
}

func guardHandy(base http.RoundTripper) http.RoundTripper {
	succeeded := func(resp *http.Response) bool { return resp.StatusCode < 500 }
	return &perHost[http.RoundTripper]{
		create: func(string) http.RoundTripper {
			return handy.Transport(handy.NewBreaker(0.5), succeeded, base)
		},
		send: http.RoundTripper.RoundTrip,
	}
}

// guardHystrix uses the map that hystrix-go brings.
func guardHystrix(base http.RoundTripper) http.RoundTripper {
	return roundTripFunc(func(req *http.Request) (*http.Response, error) {
		var resp *http.Response
		err := hystrix.Do(req.URL.Host, func() (err error) {
			resp, err = base.RoundTrip(req)
			return judge(resp, err)
		}, nil)
		return unjudge(resp, err)
	})
}
