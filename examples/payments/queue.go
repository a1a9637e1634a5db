package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A queue keeps payments on disk until they have been sent: one file each, by
// their idempotency key. A file is there as a whole or not at all, whenever the
// process dies.
type queue struct{ dir string }

func openQueue(dir string) (*queue, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	q := &queue{dir: dir}
	return q, q.sweep()
}

// sweep removes what a process that died has left half-written: nobody was told
// that it was kept.
func (q *queue) sweep() error {
	left, err := filepath.Glob(filepath.Join(q.dir, "*.part"))
	if err != nil {
		return err
	}
	for _, file := range left {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

// put keeps a payment. Once it returns, the payment outlives the process and the
// machine's power.
func (q *queue) put(p payment) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	part := q.path(p.Key) + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	step("written")
	if err := os.Rename(part, q.path(p.Key)); err != nil {
		return err
	}
	return q.sync()
}

// done forgets a payment that has been sent.
func (q *queue) done(key string) error {
	if err := os.Remove(q.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return q.sync()
}

// sync makes the names of files last.
func (q *queue) sync() error {
	d, err := os.Open(q.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// all returns the payments that have yet to be sent.
func (q *queue) all() ([]payment, error) {
	files, err := filepath.Glob(filepath.Join(q.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []payment
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // sent meanwhile
		}
		if err != nil {
			return nil, err
		}
		var p payment
		if err := json.Unmarshal(b, &p); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, p)
	}
	return all, nil
}

func (q *queue) path(key string) string {
	return filepath.Join(q.dir, strings.ReplaceAll(key, string(filepath.Separator), "_")+".json")
}
