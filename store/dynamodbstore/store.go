// Package dynamodbstore keeps the records that processes share in DynamoDB.
//
// A record is one item of one table, whose partition key is the string "key"
// and whose time to live is in "expires"; [Store.CreateTable] makes such a table.
// To share circuits takes the permissions dynamodb:BatchGetItem and
// dynamodb:UpdateItem on it.
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

// Store is a [store.Store] on a table of DynamoDB. Its methods may be
// called concurrently. No request is sent twice, whatever retries the client
// makes of others. Times are DynamoDB's, to within 3 seconds.
//
// Make one with [New].
type Store struct {
	client *dynamodb.Client
	table  string
	clock  clock
}

// New returns a Store on the table of that name or ARN.
func New(client *dynamodb.Client, table string) *Store {
	return &Store{client: client, table: table}
}

// once has the client send a request once: a swap sent again would lose to
// itself, and the caller would rather have an error soon than an answer late.
func once(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} }

// Load implements [store.Store] by consistent reads, a hundred keys a
// request, all at the same time. Keys that are not UTF-8 are one if they differ
// only where they are not. Items that DynamoDB did not return for lack of
// capacity are an error.
func (s *Store) Load(ctx context.Context, keys []string) ([]store.Item, error) {
	wanted := make(map[string]bool, len(keys)) // a key asked for twice is an error of BatchGetItem
	for _, key := range keys {
		wanted[clean(key)] = true
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		found = make(map[string]store.Item, len(wanted))
		errs  []error
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
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("breakerhttp: dynamodb: load: %w", err)
	}
	items := make([]store.Item, len(keys))
	for i, key := range keys {
		items[i] = found[clean(key)]
	}
	return items, nil
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
				return nil, fmt.Errorf("item %q: %w", key, err)
			}
			items[key] = item
		}
	}
	for _, left := range out.UnprocessedKeys {
		return nil, fmt.Errorf("%d of %d keys were not processed: the table is throttled", len(left.Keys), len(keys))
	}
	return items, nil
}

// CompareAndSwap implements [store.Store] by a conditional write, followed
// by a consistent read if it lost.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (store.Item, bool, error) {
	item, swapped, err := s.swap(ctx, key, old, value, ttl)
	if err != nil {
		return store.Item{}, false, fmt.Errorf("breakerhttp: dynamodb: swap of %q: %w", key, err)
	}
	return item, swapped, nil
}

func (s *Store) swap(ctx context.Context, key string, old uint64, value []byte, ttl time.Duration) (store.Item, bool, error) {
	now, known := s.clock.now()
	if !known {
		// Any answer will do: it brings the time that the write has to note.
		if _, err := s.loadBatch(ctx, []string{clean(key)}); err != nil {
			return store.Item{}, false, err
		}
		now, _ = s.clock.now()
	}
	out, err := s.client.UpdateItem(ctx, s.update(key, old, value, now, ttl), once)
	if lost := (*types.ConditionalCheckFailedException)(nil); errors.As(err, &lost) {
		// The exception may carry the item, but not every endpoint has it do so.
		items, err := s.Load(ctx, []string{key})
		if err != nil {
			return store.Item{}, false, err
		}
		return items[0], false, nil
	}
	if err != nil {
		return store.Item{}, false, err
	}
	s.clock.learn(out.ResultMetadata)
	return store.Item{Value: value, Version: next(old, now)}, true, nil
}

// next is the version that follows old. The first is the time, so that a table
// made anew does not repeat the versions of the one before.
func next(old uint64, now time.Time) uint64 {
	if old == 0 {
		return uint64(now.UnixMilli())
	}
	return old + 1
}

func (s *Store) update(key string, old uint64, value []byte, now time.Time, ttl time.Duration) *dynamodb.UpdateItemInput {
	in := &dynamodb.UpdateItemInput{
		TableName:        &s.table,
		Key:              itemKey(clean(key)),
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
