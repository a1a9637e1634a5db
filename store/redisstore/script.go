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

// script returns the record of KEYS[1]: its version, value, age in milliseconds, and 0.
//
// With arguments, it writes the record if its version is ARGV[1], and returns what it wrote and 1.
// ARGV[2] is the version that follows, ARGV[3] the value, ARGV[4] the time to live in milliseconds,
// ARGV[5] the channel on which it publishes the key. One command writes all fields, so a server
// that refuses to write has written nothing. A user who may not publish can still write.
//
// An expired record is kept for another hour, because a swap needs its version.
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.pcall('HMGET', KEYS[1], 'version', 'value', 'written', 'expires')
if record.err then
  return record
end
local version, value, written, expires = record[1], record[2], tonumber(record[3]), tonumber(record[4])
if not (version or value or written or expires) and redis.pcall('EXISTS', KEYS[1]) ~= 1 then
  version, value, written, expires = '0', '', now, now
elseif not (version and value and written and expires) then
  return redis.error_reply('` + noRecord + ` the hash is no record')
end
if version == ARGV[1] then
  local next = ARGV[2]
  if now > tonumber(next) then
    next = string.format('%.0f', now)
  end
  redis.call('HSET', KEYS[1], 'version', next, 'value', ARGV[3], 'written', now, 'expires', now + ARGV[4])
  redis.call('PEXPIRE', KEYS[1], ARGV[4] + 3600000)
  redis.pcall('PUBLISH', ARGV[5], KEYS[1])
  return {next, ARGV[3], 0, 1}
end
if now >= expires then
  value = ''
end
return {version, value, now - written, 0}
`

// noRecord is the code of the script's own error.
const noRecord = "NORECORD"

var hash = redis.NewScript(script).Hash()

// A call runs the script on one key.
type call struct {
	key  string
	args []any // none to read
}

// A command is a call on its way. The client sends it once: a swap that is sent again would lose to
// itself.
type command struct{ *redis.Cmd }

func (command) NoRetry() bool { return true }

// by returns the command that runs the script by EVALSHA and its hash, or by EVAL and its source.
func (c call) by(ctx context.Context, eval, script string) command {
	return command{redis.NewCmd(ctx, append([]any{eval, script, 1, c.key}, c.args...)...)}
}

// A reply is what the script returned for one key, or the error of that key in item.Err.
type reply struct {
	item    store.Item
	swapped bool
}

// unreadable is the error of a key that holds something other than a record.
type unreadable struct{ error }

func (e unreadable) Unwrap() error { return e.error }

func (c command) reply() (reply, error) {
	fields, err := c.Slice()
	if redis.HasErrorPrefix(err, noRecord) || redis.HasErrorPrefix(err, "WRONGTYPE") {
		return reply{}, unreadable{err}
	}
	if err != nil {
		return reply{}, err
	}
	if len(fields) != 4 {
		return reply{}, fmt.Errorf("%d fields in the script's reply, want 4", len(fields))
	}
	text, isText := fields[0].(string)
	version, err := strconv.ParseUint(text, 10, 63) // of 63 bits: version + 1 is one too
	value, isValue := fields[1].(string)
	age, isAge := fields[2].(int64)
	swapped, isSwapped := fields[3].(int64)
	if !isText || err != nil || !isValue || !isAge || !isSwapped {
		return reply{}, unreadable{errors.New("the fields of the hash are not those of a record")}
	}
	// The clock of a replica that was promoted may be behind the one that wrote the record.
	item := store.Item{Version: version, Age: max(0, time.Duration(age)*time.Millisecond)}
	if value != "" {
		item.Value = []byte(value)
	}
	return reply{item, swapped == 1}, nil
}
