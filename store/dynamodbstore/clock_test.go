package dynamodbstore_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store/dynamodbstore"
)

// newShifted returns a Store on a table whose server's clock is ahead of this machine's by shift.
func newShifted(t *testing.T, shift *atomic.Int64) *dynamodbstore.Store {
	t.Helper()
	server := servertest.Dynalite(t)
	client := connect(server.URL())
	table := newTable(t, client)
	if err := dynamodbstore.New(client, table).CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	endpoint := startProxy(t, server.URL(), func(answer *http.Response) error {
		answer.Header.Set("Date", time.Now().Add(time.Duration(shift.Load())).UTC().Format(http.TimeFormat))
		return nil
	})
	return dynamodbstore.New(connect(endpoint), table)
}

// A process's own clock does not matter: the clock of the server counts, even in the first write of
// a process that has read nothing.
func TestServerClock(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour, 5 * time.Minute, -5 * time.Minute} {
		t.Run(ahead.String(), func(t *testing.T) {
			var shift atomic.Int64
			shift.Store(int64(ahead))
			s := newShifted(t, &shift)
			start := time.Now()
			first := swap(t, s, "key", 0, "value", 24*time.Hour)
			// The server's time comes in whole seconds.
			if got := time.UnixMilli(int64(first.Version)).Sub(start) - ahead; got < -time.Second || got > time.Since(start) {
				t.Errorf("the first version is %v off the server's time, want at most a second", got)
			}
			for _, step := range []struct {
				after time.Duration
				value string
			}{
				{0, "value"},
				{10 * time.Minute, "value"},
				{24*time.Hour - time.Minute, "value"},
				{24*time.Hour + time.Minute, ""},
			} {
				shift.Store(int64(ahead + step.after))
				got := load(t, s, "key")
				off := got.Age - step.after
				if string(got.Value) != step.value || got.Version != first.Version || off < -2*time.Second || off > time.Since(start)+2*time.Second {
					t.Errorf("%v after the write: Load = {%q, %d, %v}, want {%q, %d, %v}",
						step.after, got.Value, got.Version, got.Age, step.value, first.Version, step.after)
				}
			}
			shift.Store(int64(ahead - time.Minute)) // an answer from a server with another clock
			if got := load(t, s, "key"); got.Age != 0 {
				t.Errorf("Age %v of a record written in a minute, want 0", got.Age)
			}
		})
	}
}

// A machine whose clock is about right keeps its milliseconds.
func TestDeadBand(t *testing.T) {
	var shift atomic.Int64
	s := newShifted(t, &shift)
	for _, ahead := range []time.Duration{0, 1900 * time.Millisecond, -900 * time.Millisecond} {
		shift.Store(int64(ahead))
		start := time.Now()
		first := swap(t, s, "key"+ahead.String(), 0, "value", time.Hour)
		if got := time.UnixMilli(int64(first.Version)); got.Before(start.Truncate(time.Millisecond)) || got.After(time.Now()) {
			t.Errorf("server ahead by %v: the first version is %v off this machine's time, want none", ahead, got.Sub(start))
		}
		// The time of the write is kept in whole milliseconds.
		if got, limit := load(t, s, "key"+ahead.String()).Age, time.Since(start)+time.Millisecond; got > limit {
			t.Errorf("server ahead by %v: Age %v, want at most %v", ahead, got, limit)
		}
	}
}
