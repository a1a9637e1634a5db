// Package dynamodbstore keeps the records that processes share in DynamoDB.
//
// # Records
//
// A record is one item of one table. Its partition key is the string "key", at most 2,048 bytes.
// Its attributes are value (binary), and the numbers version, written (in milliseconds) and expires
// (in seconds), by which DynamoDB deletes it some days late. [Store.CreateTable] makes such a
// table.
//
// All times are DynamoDB's, to within 3 seconds. A write gives a record the version old + 1, or
// DynamoDB's time in milliseconds if that is more, so a table that was made again or restored does
// not give out the versions of the one before. A record expires 24 hours after the open time that
// it is about.
//
// All processes of a fleet have to use one table in one region. In a global table, each region has
// to be a fleet of its own, with its own Namespace: a global table resolves concurrent writes by
// dropping one of them.
//
// # Cost
//
// Load is one BatchGetItem for each 100 keys, with consistent reads: one read unit for each record,
// also for one that does not exist. CompareAndSwap is one UpdateItem: one write unit, or two for a
// record of more than 1 KB. One that loses costs a write unit too, and a read unit for the winner.
// The first CompareAndSwap of a process that has read nothing costs one more read unit. Deletion of
// expired items is free.
//
// # Permissions
//
// Sharing circuits needs these permissions on the table:
//
//	dynamodb:BatchGetItem dynamodb:UpdateItem
//
// [Store.CreateTable] needs others.
//
// # What an operator sees
//
// A request that DynamoDB throttles or denies is an error of the store and is not sent again. Some
// errors concern one key, and the other keys are served:
//   - a throttled table has left the key out of its answer
//   - the key is longer than 2,048 bytes
//   - the item is not a record of this package; it is not written over
package dynamodbstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/breakerhttp/breakerhttp/store"
)

// maxBatch is how many items DynamoDB returns to one BatchGetItem.
const maxBatch = 100

// Store is a [store.Store] on a table of DynamoDB. Its methods may be called concurrently. They
// send no request twice, whatever retries the client makes of others.
//
// Make one with [New].
type Store struct {
	client *dynamodb.Client
	table  string
	clock  clock
}

// New returns a Store on the table with this name or ARN.
func New(client *dynamodb.Client, table string) *Store {
	return &Store{client: client, table: table}
}

// once makes the client send a request once. A swap that is sent again would lose to itself, and an
// early error is better than a late answer.
func once(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }

// Load implements [store.Store]. Keys that differ only in bytes that are not valid UTF-8 are the
// same key.
func (s *Store) Load(ctx context.Context, keys []string) ([]store.Item, error) {
	found, err := s.load(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("breakerhttp: dynamodb: load: %w", err)
	}
	items := make([]store.Item, len(keys))
	for i, key := range keys {
		items[i] = found[clean(key)]
	}
	return items, nil
}

// load returns the items of these keys, by clean key, without those that are absent. It asks for
// all batches at the same time.
func (s *Store) load(ctx context.Context, keys []string) (map[string]store.Item, error) {
	found := make(map[string]store.Item, len(keys))
	wanted := make(map[string]bool, len(keys)) // a key that appears twice is an error of BatchGetItem
	for _, key := range keys {
		if err := refusal(key); err != nil {
			found[clean(key)] = store.Item{Err: err}
		} else {
			wanted[clean(key)] = true
		}
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for batch := range slices.Chunk(slices.Collect(maps.Keys(wanted)), maxBatch) {
		wg.Go(func() {
			items, err := s.loadBatch(ctx, batch)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(found, items)
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return found, errors.Join(errs...)
}

func (s *Store) loadBatch(ctx context.Context, keys []string) (map[string]store.Item, error) {
	request := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
	for _, key := range keys {
		request.Keys = append(request.Keys, itemKey(key))
	}
	out, err := s.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{s.table: request},
	}, once)
	if err != nil {
		return nil, err
	}
	now := s.clock.learn(out.ResultMetadata)
	items := make(map[string]store.Item, len(keys))
	for _, rows := range out.Responses {
		for _, row := range rows {
			key, item, err := parse(row, now)
			if err != nil {
				item = store.Item{Err: keyError(key, err)}
			}
			items[key] = item
		}
	}
	for _, left := range out.UnprocessedKeys {
		err := fmt.Errorf("%d of %d keys were not processed: the table is throttled", len(left.Keys), len(keys))
		if len(left.Keys) == len(keys) {
			return nil, err
		}
		for _, row := range left.Keys {
			if key, ok := row["key"].(*types.AttributeValueMemberS); ok {
				items[key.Value] = store.Item{Err: keyError(key.Value, err)}
			}
		}
	}
	return items, nil
}

// CompareAndSwap implements [store.Store] by a conditional write, followed by a consistent read if
// it lost.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (store.Item, bool, error) {
	if err := refusal(key); err != nil {
		return store.Item{Err: err}, false, nil
	}
	item, swapped, err := s.swap(ctx, clean(key), old, value, ttl)
	if err != nil {
		return store.Item{}, false, fmt.Errorf("breakerhttp: dynamodb: swap of %q: %w", key, err)
	}
	return item, swapped, nil
}

func (s *Store) swap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (store.Item, bool, error) {
	now, known := s.clock.now()
	if !known {
		// Any answer says what time it is, which the write needs.
		if _, err := s.load(ctx, []string{key}); err != nil {
			return store.Item{}, false, err
		}
		now, _ = s.clock.now()
	}
	out, err := s.client.UpdateItem(ctx, s.update(key, old, value, now, ttl), once)
	if lost := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &lost) {
		// The exception could carry the item, but not every endpoint supports that.
		found, err := s.load(ctx, []string{key})
		return found[key], false, err
	}
	if err != nil {
		return store.Item{}, false, err
	}
	s.clock.learn(out.ResultMetadata)
	return store.Item{Value: value, Version: next(old, now)}, true, nil
}

// next returns the version that follows old.
func next(old uint64, now time.Time) uint64 { return max(old+1, uint64(now.UnixMilli())) }

func (s *Store) update(key string, old uint64, value []byte, now time.Time, ttl time.Duration) *dynamodb.UpdateItemInput {
	in := &dynamodb.UpdateItemInput{
		TableName:        &s.table,
		Key:              itemKey(key),
		UpdateExpression: aws.String("SET #value = :value, version = :version, written = :written, expires = :expires"),
		// Both are reserved words.
		ExpressionAttributeNames: map[string]string{"#value": "value"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":value":   &types.AttributeValueMemberB{Value: value},
			":version": number(next(old, now)),
			":written": number(now.UnixMilli()),
			":expires": number(expiry(now.Add(ttl))),
		},
	}
	if old == 0 {
		in.ConditionExpression = aws.String("attribute_not_exists(#key)")
		in.ExpressionAttributeNames["#key"] = "key"
	} else {
		in.ConditionExpression = aws.String("version = :old")
		in.ExpressionAttributeValues[":old"] = number(old)
	}
	return in
}
