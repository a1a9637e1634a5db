package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/breakerhttp/breakerhttp"
)

// A policyFile sets the policies of a Transport.
type policyFile struct {
	path    string
	breaker *breakerhttp.Transport
	log     *slog.Logger
	text    []byte // as it was read last
}

// load reads the file, and sets its policies if there is no error in it.
func (f *policyFile) load() error {
	text, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	f.text = text
	return source{f.path, text}.set(f.breaker)
}

// follow loads the file when it has changed and at a SIGHUP, until ctx ends.
func (f *policyFile) follow(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	// The folder is watched, because editors and Kubernetes put a new file in place
	// of the old one.
	if err := watcher.Add(filepath.Dir(f.path)); err != nil {
		return err
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	quiet := time.After(0) // since the last event: a file may be written in pieces
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Events:
			quiet = time.After(100 * time.Millisecond)
		case err := <-watcher.Errors:
			f.log.Error("watching policies", "error", err)
		case <-quiet:
			if text, err := os.ReadFile(f.path); err != nil || !bytes.Equal(text, f.text) {
				f.report(f.load())
			}
		case <-hangup:
			f.report(f.load())
		}
	}
}

func (f *policyFile) report(err error) {
	if err != nil {
		f.log.Error("policies stay as they were", "error", err)
		return
	}
	f.log.Info("policies set", "file", f.path)
}
