package breakerhttp

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// A Transition is a change of a circuit's state.
type Transition struct {
	Key     string        `json:"key"`
	From    State         `json:"from"`
	To      State         `json:"to"`
	At      time.Time     `json:"at"`
	Reason  Reason        `json:"reason"`   // machine-readable
	Detail  string        `json:"detail"`   // for people, as OpenError.Reason
	OpenFor time.Duration `json:"open_for"` // if To is StateOpen, and not forced; in JSON a number of seconds
	Counts  Counts        `json:"counts"`   // of From, as it ended
	Seq     uint64        `json:"seq"`      // 1, 2, 3, ... in the order in which the Transport's transitions happened
}

// A Reason of a [Transition] is "consecutive_failures", "failure_ratio",
// "slow_ratio", "trip_when", "open_elapsed", "probe_succeeded", "probe_failed",
// "probe_timeout", "forced", "reset" or "shared".
type Reason string

// MarshalJSON writes OpenFor as a number of seconds.
func (tr Transition) MarshalJSON() ([]byte, error) {
	type fields Transition
	return json.Marshal(struct {
		fields
		OpenFor float64 `json:"open_for"` // in place of the embedded one
	}{fields(tr), tr.OpenFor.Seconds()})
}

// LogTransitions returns a hook for [WithTransitionHook] that logs each
// transition to l: opening as a warning, all else as information.
func LogTransitions(l *slog.Logger) func(context.Context, Transition) {
	return func(ctx context.Context, tr Transition) {
		level := slog.LevelInfo
		if tr.To == StateOpen {
			level = slog.LevelWarn
		}
		attrs := []slog.Attr{
			slog.String("key", tr.Key),
			slog.String("from", tr.From.String()),
			slog.String("to", tr.To.String()),
			slog.String("reason", string(tr.Reason)),
			slog.String("detail", tr.Detail),
		}
		if tr.OpenFor > 0 {
			attrs = append(attrs, slog.Duration("open_for", tr.OpenFor))
		}
		l.LogAttrs(ctx, level, "circuit "+tr.To.String(), attrs...)
	}
}
