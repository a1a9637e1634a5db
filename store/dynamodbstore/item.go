package dynamodbstore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/breakerhttp/breakerhttp/store"
)

// maxKey is the size of the longest key that DynamoDB accepts, in bytes. It refuses a whole request
// that has a longer key, or an empty one.
const maxKey = 2048

// refusal returns an error if DynamoDB does not accept key.
func refusal(key string) error {
	if n := len(clean(key)); n == 0 || n > maxKey {
		return fmt.Errorf("breakerhttp: dynamodb: key of %d bytes, want 1 to %d", n, maxKey)
	}
	return nil
}

func keyError(key string, err error) error {
	return fmt.Errorf("breakerhttp: dynamodb: %q: %w", key, err)
}

// clean replaces what is not valid UTF-8 in a key, because a string of DynamoDB must be valid.
func clean(key string) string { return strings.ToValidUTF8(key, "\uFFFD") }

func itemKey(key string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"key": &types.AttributeValueMemberS{Value: key}}
}

func number[N int64 | uint64](n N) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: fmt.Sprint(n)}
}

// expiry returns t as DynamoDB wants it: in whole seconds, and not before t.
func expiry(t time.Time) int64 { return t.Add(time.Second - 1).Unix() }

// parse returns the key and the item of a row of the table. Its age is that at now.
func parse(row map[string]types.AttributeValue, now time.Time) (string, store.Item, error) {
	key, _ := row["key"].(*types.AttributeValueMemberS)
	if key == nil {
		return "", store.Item{}, errors.New("no key")
	}
	value, _ := row["value"].(*types.AttributeValueMemberB)
	if value == nil {
		return key.Value, store.Item{}, errors.New("no record: no binary value")
	}
	var numbers [3]uint64
	for i, name := range []string{"version", "written", "expires"} {
		n, _ := row[name].(*types.AttributeValueMemberN)
		if n == nil {
			return key.Value, store.Item{}, fmt.Errorf("no record: no number %s", name)
		}
		var err error
		if numbers[i], err = strconv.ParseUint(n.Value, 10, 63); err != nil {
			return key.Value, store.Item{}, fmt.Errorf("no record: %s is %q, want a whole number", name, n.Value)
		}
	}
	item := store.Item{
		Version: numbers[0],
		Age:     max(0, now.Sub(time.UnixMilli(int64(numbers[1])))), // another machine may be a little ahead
	}
	// DynamoDB deletes an expired item only days later.
	if now.Before(time.Unix(int64(numbers[2]), 0)) {
		item.Value = value.Value
	}
	return key.Value, item, nil
}
