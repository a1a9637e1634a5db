package redisstore_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/store/redisstore"
)

// A host is down. One process finds out by five failed requests. Another one then knows it before
// its first request.
func Example() {
	server, err := miniredis.Run() // in place of a real one
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer host.Close()

	process := func() *http.Client {
		rdb := redis.NewClient(&redis.Options{
			Addr:                  server.Addr(),
			ContextTimeoutEnabled: true,
			DialerRetries:         1,
		})
		transport, err := breakerhttp.New(nil,
			breakerhttp.WithFallback(breakerhttp.ServiceUnavailable),
			breakerhttp.WithKey(func(*http.Request) string { return "inventory" }), // circuits of 127.0.0.1 are not shared
			breakerhttp.WithStore(redisstore.New(rdb), breakerhttp.Sharing{
				Namespace:    "checkout",
				Quorum:       1,
				ReadTimeout:  time.Second, // because the machine that runs this example may be busy
				WriteTimeout: time.Second,
			}))
		if err != nil {
			log.Fatal(err)
		}
		return &http.Client{Transport: transport}
	}
	get := func(client *http.Client) {
		resp, err := client.Get(host.URL)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(resp.Status, "Retry-After:", resp.Header["Retry-After"])
	}

	first := process()
	for range 5 {
		get(first)
	}
	get(process())
	// Output:
	// 503 Service Unavailable Retry-After: []
	// 503 Service Unavailable Retry-After: []
	// 503 Service Unavailable Retry-After: []
	// 503 Service Unavailable Retry-After: []
	// 503 Service Unavailable Retry-After: []
	// 503 Service Unavailable Retry-After: [60]
}
