package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/breakerhttp/breakerhttp"
)

// sourceHeader tells callers where a verse comes from. The service does not set it.
const sourceHeader = "Verse-Source"

const (
	fromCache   = "cache"
	fromDefault = "default"
)

const defaultVerse = "Be still for a moment, and ask again."

// A book looks verses up in a service, and remembers them for the time when the
// service's circuit is open.
type book struct {
	client  *http.Client
	service string

	mu    sync.Mutex
	cache map[string]string // by path
}

// newBook returns a book of the verses of a service. Three failures in a row
// open the circuit for openFor; meanwhile the fallback answers.
func newBook(service string, timeout, openFor time.Duration) (*book, error) {
	b := &book{service: service, cache: map[string]string{}}
	t, err := breakerhttp.New(nil,
		breakerhttp.WithName("verses"),
		breakerhttp.WithPolicy(breakerhttp.Policy{ConsecutiveFailures: 3, OpenFor: openFor}),
		breakerhttp.WithFallback(b.remember),
	)
	if err != nil {
		return nil, err
	}
	b.client = &http.Client{Transport: t, Timeout: timeout}
	return b, nil
}

// remember is the fallback: the verse as it was last seen, or the default verse.
func (b *book) remember(req *http.Request, _ *breakerhttp.OpenError) (*http.Response, error) {
	b.mu.Lock()
	verse, ok := b.cache[req.URL.Path]
	b.mu.Unlock()
	source := fromCache
	if !ok {
		verse, source = defaultVerse, fromDefault
	}
	return &http.Response{
		Status:        "200 OK",
		StatusCode:    http.StatusOK,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        http.Header{sourceHeader: {source}},
		Body:          io.NopCloser(strings.NewReader(verse)),
		ContentLength: int64(len(verse)),
		Request:       req,
	}, nil
}

// look returns a verse, and where it comes from if not from the service.
func (b *book) look(reference string) (verse, source string, err error) {
	resp, err := b.client.Get(b.service + "/" + reference)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "", "", err
	case resp.StatusCode != http.StatusOK:
		return "", "", fmt.Errorf("the service says %s", resp.Status)
	}
	source = resp.Header.Get(sourceHeader)
	if source == "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.cache[resp.Request.URL.Path] = string(text)
	}
	return string(text), source, nil
}
