package dynamodbstore

import (
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	smithy "github.com/aws/smithy-go/middleware"
)

// deadBand is the greatest difference to DynamoDB's clock that is ignored. DynamoDB's answers say
// the time in whole seconds. This machine's own clock is finer, if it is right.
const deadBand = 2 * time.Second

// A clock tells DynamoDB's time: this machine's wall clock, corrected by the times in DynamoDB's
// answers. It does not use the monotonic clock, which may stand still while a Lambda environment is
// frozen.
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

// learn corrects the clock by an answer that has just come, and returns the time.
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
