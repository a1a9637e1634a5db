package dynamodbstore_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store"
	"github.com/breakerhttp/breakerhttp/store/dynamodbstore"
	"github.com/breakerhttp/breakerhttp/store/storetest"
)

var _ store.Store = (*dynamodbstore.Store)(nil)

// TestServers runs on each server there is: dynalite, Amazon's DynamoDB Local, and the endpoint
// that DYNAMODB_ENDPOINT names.
func TestServers(t *testing.T) {
	servers := map[string]func(t *testing.T) string{
		"dynalite":       func(t *testing.T) string { return servertest.Dynalite(t).URL() },
		"DynamoDB Local": func(t *testing.T) string { return servertest.DynamoDBLocal(t).URL() },
	}
	if endpoint := os.Getenv("DYNAMODB_ENDPOINT"); endpoint != "" {
		servers["DYNAMODB_ENDPOINT"] = func(*testing.T) string { return endpoint }
	}
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(start(t))
			table := newTable(t, client)
			for range 2 { // the second one finds it
				if err := dynamodbstore.New(client, table).CreateTable(t.Context()); err != nil {
					t.Fatalf("CreateTable: %v", err)
				}
			}
			if ttl, err := client.DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: &table}); name != "dynalite" && // which has none
				(err != nil || aws.ToString(ttl.TimeToLiveDescription.AttributeName) != "expires") {
				t.Errorf("the table's time to live: %v, error %v, want it in expires", ttl, err)
			}
			t.Run("storetest", func(t *testing.T) {
				storetest.Run(t, func(*testing.T) store.Store { return dynamodbstore.New(client, table) })
			})
			t.Run("foreign items", func(t *testing.T) { foreignItems(t, client, table) })
			t.Run("next version", func(t *testing.T) { nextVersion(t, client, table) })
		})
	}
}

// A key that is not valid UTF-8 neither makes the others fail nor is mistaken for one of them.
func TestInvalidKey(t *testing.T) {
	s := newStore(t)
	want := swap(t, s, "http://\xff", 0, "value", time.Hour)
	items, err := s.Load(t.Context(), []string{"http://", "http://\xff", "http://\xfe"})
	if err != nil || items[0].Version != 0 || items[1].Version != want.Version || items[2].Version != want.Version {
		t.Errorf("Load = %v, error %v, want version %d second and third", items, err, want.Version)
	}
}

// A Store returns any value. Whether it makes sense is for the protocol to decide. Anything else
// that is wrong with an item is an error of its key alone, and the item is not written over.
func foreignItems(t *testing.T, client *dynamodb.Client, table string) {
	s := dynamodbstore.New(client, table)
	good := func() map[string]types.AttributeValue {
		return map[string]types.AttributeValue{
			"key":     &types.AttributeValueMemberS{Value: "foreign"},
			"value":   &types.AttributeValueMemberB{Value: []byte("\x00\xff{\"s\":99")},
			"version": &types.AttributeValueMemberN{Value: "9223372036854775806"},
			"written": &types.AttributeValueMemberN{Value: "0"},
			"expires": &types.AttributeValueMemberN{Value: "99999999999"},
		}
	}
	put := func(t *testing.T, item map[string]types.AttributeValue) {
		t.Helper()
		if _, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	put(t, good())
	if got := load(t, s, "foreign"); string(got.Value) != "\x00\xff{\"s\":99" || got.Version != 9223372036854775806 {
		t.Errorf("Load = {%q, %d}, want what was put", got.Value, got.Version)
	}
	other := swap(t, s, "other", 0, "value", time.Hour)
	number := func(n string) types.AttributeValue { return &types.AttributeValueMemberN{Value: n} }
	for name, spoil := range map[string]func(item map[string]types.AttributeValue){
		"another application's": func(item map[string]types.AttributeValue) {
			maps.DeleteFunc(item, func(name string, _ types.AttributeValue) bool { return name != "key" })
			item["name"] = &types.AttributeValueMemberS{Value: "value"}
		},
		"no value":             func(item map[string]types.AttributeValue) { delete(item, "value") },
		"no version":           func(item map[string]types.AttributeValue) { delete(item, "version") },
		"a version in words":   func(item map[string]types.AttributeValue) { item["version"] = &types.AttributeValueMemberS{Value: "1"} },
		"written in fractions": func(item map[string]types.AttributeValue) { item["written"] = number("1.5") },
		"expires before 1970":  func(item map[string]types.AttributeValue) { item["expires"] = number("-1") },
	} {
		t.Run(name, func(t *testing.T) {
			item := good()
			spoil(item)
			put(t, item)
			items, err := s.Load(t.Context(), []string{"absent", "foreign", "other"})
			if err != nil || items[0].Err != nil || items[1].Err == nil || items[2].Err != nil || items[2].Version != other.Version {
				t.Errorf("Load = %v, error %v, want an error of the second item alone", items, err)
			} else if !strings.Contains(items[1].Err.Error(), `"foreign"`) {
				t.Errorf("Load: item error %q, want one that names the key", items[1].Err)
			}
			if cur, swapped, err := s.CompareAndSwap(t.Context(), "foreign", 0, []byte("mine"), time.Hour); err != nil || swapped || cur.Err == nil {
				t.Errorf("CompareAndSwap = %v, swapped %v, error %v, want an error of the item", cur, swapped, err)
			}
			out, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: &table, Key: map[string]types.AttributeValue{"key": item["key"]}})
			if err != nil || !reflect.DeepEqual(out.Item, item) {
				t.Errorf("the item is %v, error %v, want it as before: %v", out.Item, err, item)
			}
		})
	}
}

// The next version is old + 1, or the server's time if that is more: a table that has lost a
// version does not give it out again.
func nextVersion(t *testing.T, client *dynamodb.Client, table string) {
	s := dynamodbstore.New(client, table)
	first := swap(t, s, "version", 0, "value", time.Hour)
	time.Sleep(20 * time.Millisecond)
	if next := swap(t, s, "version", first.Version, "value", time.Hour); next.Version < first.Version+20 {
		t.Errorf("version %d is 20ms after %d, want one that says so", next.Version, first.Version)
	}
	ahead := first.Version + uint64(time.Hour.Milliseconds()) // by a clock that was fast
	if _, err := client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName:                 &table,
		Key:                       map[string]types.AttributeValue{"key": &types.AttributeValueMemberS{Value: "version"}},
		UpdateExpression:          aws.String("SET version = :v"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":v": &types.AttributeValueMemberN{Value: strconv.FormatUint(ahead, 10)}},
	}); err != nil {
		t.Fatal(err)
	}
	if next := swap(t, s, "version", ahead, "value", time.Hour); next.Version != ahead+1 {
		t.Errorf("version %d after %d, which is ahead of the clock, want the next", next.Version, ahead)
	}
}

// DynamoDB would refuse a request with such a key, so the key is left out of the request. The other
// keys are asked for.
func TestRefusedKey(t *testing.T) {
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		sent.Add(1)
		fmt.Fprint(w, `{"Responses":{"table":[]}}`)
	}))
	defer server.Close()
	s := dynamodbstore.New(connect(server.URL), "table")
	for _, key := range []string{"", strings.Repeat("k", 2049), strings.Repeat("\xff.", 513)} {
		if items, err := s.Load(t.Context(), []string{key}); err != nil || items[0].Err == nil {
			t.Errorf("Load(%.10q) = %v, error %v, want an error of the item", key, items, err)
		}
		if cur, swapped, err := s.CompareAndSwap(t.Context(), key, 0, nil, time.Hour); err != nil || swapped || cur.Err == nil {
			t.Errorf("CompareAndSwap(%.10q) = %v, swapped %v, error %v, want an error of the item", key, cur, swapped, err)
		}
	}
	if got := sent.Load(); got != 0 {
		t.Errorf("%d requests for keys that DynamoDB refuses, want none", got)
	}
	items, err := s.Load(t.Context(), []string{"a", strings.Repeat("k", 2049), strings.Repeat("k", 2048)})
	if err != nil || items[0].Err != nil || items[1].Err == nil || items[2].Err != nil {
		t.Errorf("Load = %v, error %v, want an error of the second item alone", items, err)
	}
}

// The attribute by which DynamoDB deletes items is in seconds, and never too early.
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
	if err != nil || cur.Err != nil || !swapped {
		t.Fatalf("CompareAndSwap(%q, version %d) = version %d, item error %v, swapped %v, error %v, want it to win", key, old, cur.Version, cur.Err, swapped, err)
	}
	return cur
}

func load(t *testing.T, s *dynamodbstore.Store, key string) store.Item {
	t.Helper()
	items, err := s.Load(t.Context(), []string{key})
	if err != nil || len(items) != 1 || items[0].Err != nil {
		t.Fatalf("Load(%q) = %v, error %v, want one item without an error", key, items, err)
	}
	return items[0]
}
