package breakerhttp

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"time"

	"github.com/breakerhttp/breakerhttp/internal/circuit"
	"github.com/breakerhttp/breakerhttp/internal/keytext"
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
	DryRun  bool          `json:"dry_run"`  // the Transport refuses nothing: see WithDryRun
	Seq     uint64        `json:"seq"`      // 1, 2, 3, ... in the order in which the Transport's transitions happened
}

// A Reason says why a circuit changed its state.
type Reason string

// The Reasons of a [Transition].
const (
	ReasonConsecutiveFailures Reason = circuit.ConsecutiveFailures // opened by failures in a row
	ReasonFailureRatio        Reason = circuit.FailureRatio        // opened by the failed share of the requests
	ReasonSlowRatio           Reason = circuit.SlowRatio           // opened by the slow share of the requests
	ReasonTripWhen            Reason = circuit.TripWhen            // opened by the user's own rule
	ReasonSilence             Reason = circuit.Silence             // opened because the host stopped answering
	ReasonLimited             Reason = circuit.RateLimited         // opened because the host asked for less
	ReasonOpenElapsed         Reason = circuit.OpenElapsed         // half-open because the open time is over
	ReasonProbeSucceeded      Reason = circuit.ProbeSucceeded      // closed by a probe
	ReasonProbeFailed         Reason = circuit.ProbeFailed         // opened by a probe
	ReasonProbeTimeout        Reason = circuit.ProbeTimedOut       // opened by a probe that was not answered
	ReasonLateAnswers         Reason = circuit.LateAnswers         // closed because what was missing came late
	ReasonForced              Reason = circuit.Forced              // by ForceOpen or ForceClosed
	ReasonReset               Reason = circuit.WasReset            // closed by Reset
	ReasonShared              Reason = circuit.Shared              // as other processes have found
)

// MarshalJSON writes OpenFor as a number of seconds, and a key of any bytes as valid UTF-8. Two
// keys never have the same text.
func (tr Transition) MarshalJSON() ([]byte, error) {
	type fields Transition
	tr.Key = keytext.Encode(tr.Key)
	return json.Marshal(struct {
		fields
		OpenFor float64 `json:"open_for"` // in place of the embedded one
	}{fields(tr), tr.OpenFor.Seconds()})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (tr *Transition) UnmarshalJSON(b []byte) error {
	type fields Transition
	var v struct {
		fields
		OpenFor float64 `json:"open_for"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*tr = Transition(v.fields)
	tr.Key = keytext.Decode(tr.Key)
	tr.OpenFor = math.MaxInt64
	if ns := math.Round(v.OpenFor * float64(time.Second)); ns < math.MaxInt64 {
		tr.OpenFor = time.Duration(ns)
	}
	return nil
}

// transportName is the name of the Transport in the context of a hook.
type transportName struct{}

// LogTransitions returns a hook for [WithTransitionHook] that logs each transition
// to l, with the name of the Transport: opening as a warning, all else, and all of
// a dry run, as information.
func LogTransitions(l *slog.Logger) func(context.Context, Transition) {
	return func(ctx context.Context, tr Transition) {
		level := slog.LevelInfo
		message := "circuit " + tr.To.String()
		switch {
		case tr.DryRun:
			message = "dry run: " + message
		case tr.To == StateOpen:
			level = slog.LevelWarn
		}
		attrs := []slog.Attr{
			slog.String("key", keytext.Encode(tr.Key)),
			slog.String("from", tr.From.String()),
			slog.String("to", tr.To.String()),
			slog.String("reason", string(tr.Reason)),
			slog.String("detail", tr.Detail),
		}
		if name, ok := ctx.Value(transportName{}).(string); ok {
			attrs = append([]slog.Attr{slog.String("name", name)}, attrs...)
		}
		if tr.OpenFor > 0 {
			attrs = append(attrs, slog.Duration("open_for", tr.OpenFor.Round(time.Millisecond)))
		}
		l.LogAttrs(ctx, level, message, attrs...)
	}
}
