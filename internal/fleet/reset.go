package fleet

import (
	"context"
	"errors"

	"github.com/breakerhttp/breakerhttp/store"
)

// Reset makes this process ignore the record as it is. The process still reads and votes. If it
// holds a lease, it gives the lease up, which takes at most WriteTimeout.
func (m *Member) Reset(ctx context.Context) {
	m.mu.Lock()
	m.deafen()
	m.vote = nil
	m.due.Store(int64(m.now()))
	m.mu.Unlock()
	m.Release(ctx)
}

// maxResets bounds the attempts to reset a record.
const maxResets = 4

// Reset closes the record of a circuit for all processes, unless the record is of another schema.
// It calls the store even if the store has failed before. It takes at most four times the sum of
// ReadTimeout and WriteTimeout.
func (f *Fleet) Reset(ctx context.Context, key string) (err error) {
	record := RecordKey(f.cfg.Namespace, key)
	for range maxResets {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var cur store.Item
		switch cur, err = f.resetOnce(record); {
		case errors.Is(err, errPoison):
			return err // a record of another schema is not overwritten
		case err != nil:
			continue
		}
		f.mu.Lock()
		m := f.members[record]
		f.mu.Unlock()
		if m != nil {
			m.adoptNow(ctx, cur, f.cfg.Now())
		}
		return nil
	}
	return err
}

// resetOnce reads the record, and closes it unless another process writes it meanwhile.
func (f *Fleet) resetOnce(key string) (cur store.Item, err error) {
	items, err := f.load(context.Background(), []string{key}, command)
	if err == nil {
		err = items[0].Err
	}
	if err != nil {
		return cur, err
	}
	if rec, err := parse(items[0].Value); rec.foreign {
		return cur, err
	}
	ctx, cancel := f.writing(context.Background())
	defer cancel()
	s, err := f.swap(ctx, key, items[0].Version, record{State: Closed}, command)
	switch {
	case err != nil:
		return cur, err
	case s.cur.Err != nil:
		return cur, s.cur.Err
	case !s.ok:
		return cur, errLost
	}
	return s.cur, nil
}

var errLost = errors.New("breakerhttp: another process has written the record meanwhile")
