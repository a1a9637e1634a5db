package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp/store"
)

// script swaps the record of KEYS[1] if its version is ARGV[1], and returns what
// is stored afterwards: version, value, age in milliseconds, and whether it
// swapped. Without arguments it only reads.
//
// An expired record is kept for another hour, because a swap needs its version.
// A user who may not publish can swap all the same.
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HMGET', KEYS[1], 'version', 'value', 'written', 'expires')
local version = record[1] or '0'
if version == ARGV[1] then
  redis.call('HINCRBY', KEYS[1], 'version', version == '0' and now or 1)
  redis.call('HSET', KEYS[1], 'value', ARGV[2], 'written', now, 'expires', now + ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[3] + 3600000)
  redis.pcall('PUBLISH', '` + channel + `', KEYS[1])
  return {redis.call('HGET', KEYS[1], 'version'), ARGV[2], 0, 1}
end
if version == '0' then
  return {version, '', 0, 0}
end
local value = record[2]
if now >= tonumber(record[4]) then
  value = ''
end
return {version, value, now - record[3], 0}
`

var hash = redis.NewScript(script).Hash()

// A call runs the script on one key. The client sends it once: a swap sent again
// would lose to itself.
type call struct{ *redis.Cmd }

func newCall(ctx context.Context, eval, script, key string, args ...any) call {
	return call{redis.NewCmd(ctx, append([]any{eval, script, 1, key}, args...)...)}
}

func (call) NoRetry() bool { return true }

// A reply is what the script returned.
type reply struct {
	item    store.Item
	swapped bool
}

func (c call) reply() (reply, error) {
	fields, err := c.Slice()
	if err != nil {
		return reply{}, err
	}
	if len(fields) != 4 {
		return reply{}, fmt.Errorf("%d fields in the script's reply, want 4", len(fields))
	}
	text, isText := fields[0].(string)
	version, err := strconv.ParseUint(text, 10, 64)
	value, isValue := fields[1].(string)
	age, isAge := fields[2].(int64)
	swapped, isSwapped := fields[3].(int64)
	if !isText || err != nil || !isValue || !isAge || !isSwapped {
		return reply{}, errors.New("the hash is not a record of this package")
	}
	// A replica that was promoted may be behind the clock that wrote the record.
	item := store.Item{Version: version, Age: max(0, time.Duration(age)*time.Millisecond)}
	if value != "" {
		item.Value = []byte(value)
	}
	return reply{item, swapped == 1}, nil
}
