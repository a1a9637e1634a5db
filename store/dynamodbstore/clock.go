package dynamodbstore

import (
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	smithy "github.com/aws/smithy-go/middleware"
)

// deadBand is what DynamoDB's clock may seem to be off before it counts. Its
// answers say the time in whole seconds; this machine's own clock, if it is
// right, is finer.
const deadBand = 2 * time.Second

// A clock tells DynamoDB's time by this machine's wall clock, set right by what
// the answers say. It is no monotonic clock, because those may stand still while
// a Lambda environment is frozen.
type clock struct {
	skew atomic.Pointer[time.Duration] // nil before the first answer
}

// now returns DynamoDB's time, and whether an answer has confirmed it yet.
func (c *clock) now() (t time.Time, known bool) {
	if skew := c.skew.Load(); skew != nil {
		return wall().Add(*skew), true
	}
	return wall(), false
}

// learn takes the time from an answer that has just come, and returns it.
func (c *clock) learn(answer smithy.Metadata) time.Time {
	local, skew := wall(), time.Duration(0)
	if known := c.skew.Load(); known != nil {
		skew = *known
	}
	if server, ok := middleware.GetServerTime(answer); ok {
		if off := server.Sub(local.Add(skew)); off.Abs() >= deadBand {
			skew += off
		}
	}
	c.skew.Store(&skew)
	return local.Add(skew)
}

// wall is the time without its monotonic reading, which Sub would use.
func wall() time.Time { return time.Now().Round(0) }
