package dynamodbstore_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store"
	"github.com/breakerhttp/breakerhttp/store/dynamodbstore"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

var _ store.Store = (*dynamodbstore.Store)(nil)

// TestStore runs on the endpoint in DYNAMODB_ENDPOINT, or else on dynalite.
func TestStore(t *testing.T) {
	t.Parallel()
	client := connect(servertest.DynamoDB(t))
	table := newTable(t, client)
	if err := dynamodbstore.New(client, table).CreateTable(t.Context()); err != nil {
		t.Fatalf("CreateTable: %v", err)
	}
	storetest.Run(t, func(t *testing.T) store.Store { return dynamodbstore.New(client, table) })
}

// A key that is no UTF-8 neither fails the others nor is taken for them.
func TestInvalidKey(t *testing.T) {
	s := newStore(t)
	want := swap(t, s, "http://\xff", 0, "value", time.Hour)
	items, err := s.Load(t.Context(), []string{"http://", "http://\xff", "http://\xfe"})
	if err != nil || items[0].Version != 0 || items[1].Version != want.Version || items[2].Version != want.Version {
		t.Errorf("Load = %v, error %v, want version %d second and third", items, err, want.Version)
	}
}

// Whatever the value is, it is the protocol's to judge; whatever else is wrong
// with an item is an error, and the item is not written over.
func TestPoison(t *testing.T) {
	client := connect(servertest.Dynalite(t).URL())
	table := newTable(t, client)
	s := dynamodbstore.New(client, table)
	if err := s.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	good := func() map[string]types.AttributeValue {
		return map[string]types.AttributeValue{
			"key":     &types.AttributeValueMemberS{Value: "key"},
			"value":   &types.AttributeValueMemberB{Value: []byte("\x00\xff{\"s\":99")},
			"version": &types.AttributeValueMemberN{Value: "9223372036854775806"},
			"written": &types.AttributeValueMemberN{Value: "0"},
			"expires": &types.AttributeValueMemberN{Value: "99999999999"},
		}
	}
	put := func(item map[string]types.AttributeValue) {
		t.Helper()
		if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	put(good())
	if got := load(t, s, "key"); string(got.Value) != "\x00\xff{\"s\":99" || got.Version != 9223372036854775806 {
		t.Errorf("Load = {%q, %d}, want what was put", got.Value, got.Version)
	}
	for name, spoil := range map[string]func(item map[string]types.AttributeValue){
		"no value":           func(item map[string]types.AttributeValue) { delete(item, "value") },
		"no version":         func(item map[string]types.AttributeValue) { delete(item, "version") },
		"a version in words": func(item map[string]types.AttributeValue) { item["version"] = &types.AttributeValueMemberS{Value: "1"} },
		"written in fractions": func(item map[string]types.AttributeValue) {
			item["written"] = &types.AttributeValueMemberN{Value: "1.5"}
		},
		"expires before 1970": func(item map[string]types.AttributeValue) {
			item["expires"] = &types.AttributeValueMemberN{Value: "-1"}
		},
	} {
		item := good()
		spoil(item)
		put(item)
		if items, err := s.Load(t.Context(), []string{"key"}); err == nil {
			t.Errorf("%s: Load = %v, want an error", name, items)
		}
		if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", 0, []byte("mine"), time.Hour); err == nil {
			t.Errorf("%s: CompareAndSwap = %v, swapped %v, want an error", name, cur, swapped)
		}
	}
}

// The attribute that DynamoDB deletes by is in seconds, and never too early.
func TestExpiresAttribute(t *testing.T) {
	client := connect(servertest.Dynalite(t).URL())
	table := newTable(t, client)
	s := dynamodbstore.New(client, table)
	if err := s.CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := time.Now()
	swap(t, s, "key", 0, "value", 24*time.Hour)
	out, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: &table,
		Key:       map[string]types.AttributeValue{"key": &types.AttributeValueMemberS{Value: "key"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	expires, _ := out.Item["expires"].(*types.AttributeValueMemberN)
	if expires == nil {
		t.Fatalf("item %v, want a number expires", out.Item)
	}
	seconds, err := strconv.ParseInt(expires.Value, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if due, late := time.Unix(seconds, 0), time.Now().Add(24*time.Hour+time.Second); due.Before(before.Add(24*time.Hour)) || due.After(late) {
		t.Errorf("expires at %v, want 24h after %v and at most a second more", due, before)
	}
}

// newStore returns a Store on a table of dynalite.
func newStore(t *testing.T) *dynamodbstore.Store {
	t.Helper()
	client := connect(servertest.Dynalite(t).URL())
	s := dynamodbstore.New(client, newTable(t, client))
	if err := s.CreateTable(t.Context()); err != nil {
		t.Fatalf("CreateTable: %v", err)
	}
	return s
}

func swap(t *testing.T, s *dynamodbstore.Store, key string, old uint64, value string, ttl time.Duration) store.Item {
	t.Helper()
	cur, swapped, err := s.CompareAndSwap(t.Context(), key, old, []byte(value), ttl)
	if err != nil || !swapped {
		t.Fatalf("CompareAndSwap(%q, version %d) = version %d, swapped %v, error %v, want it to win", key, old, cur.Version, swapped, err)
	}
	return cur
}

func load(t *testing.T, s *dynamodbstore.Store, key string) store.Item {
	t.Helper()
	items, err := s.Load(t.Context(), []string{key})
	if err != nil || len(items) != 1 {
		t.Fatalf("Load(%q) = %d items, error %v, want one", key, len(items), err)
	}
	return items[0]
}
