package main

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/breakerhttp/breakerhttp/store/dynamodbstore"
)

// The policies allow what the store does, and nothing else.
func TestPolicies(t *testing.T) {
	api := &dynamoDB{requests: map[string][]byte{}}
	store := api.serve(t)
	// This swap loses, so it is followed by a read. That no key is in the answer
	// is as good as any.
	if _, swapped, err := store.CompareAndSwap(t.Context(), "key", 1, nil, time.Hour); swapped || err != nil {
		t.Fatalf("a swap that loses: got %t, %v", swapped, err)
	}
	if got, want := api.actions(), allowed(t, "iam-run.json"); !slices.Equal(got, want) {
		t.Errorf("the store does %q, iam-run.json allows %q", got, want)
	}

	api = &dynamoDB{requests: map[string][]byte{}}
	if err := api.serve(t).CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := api.actions(), allowed(t, "iam-create-table.json"); !slices.Equal(got, want) {
		t.Errorf("CreateTable does %q, iam-create-table.json allows %q", got, want)
	}
}

// The template makes the table that CreateTable makes.
func TestTemplate(t *testing.T) {
	api := &dynamoDB{requests: map[string][]byte{}}
	if err := api.serve(t).CreateTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	type table struct {
		BillingMode             string
		AttributeDefinitions    []map[string]string
		KeySchema               []map[string]string
		TimeToLiveSpecification map[string]any
	}
	var want table
	decode(t, api.requests["dynamodb:CreateTable"], &want)
	decode(t, api.requests["dynamodb:UpdateTimeToLive"], &want)
	var template struct {
		Resources struct{ Circuits struct{ Properties table } }
	}
	decode(t, read(t, "table.json"), &template)
	if got := template.Resources.Circuits.Properties; !reflect.DeepEqual(got, want) {
		t.Errorf("table.json makes %+v, CreateTable %+v", got, want)
	}
}

// allowed returns the actions of a policy on the one table, in order.
func allowed(t *testing.T, file string) []string {
	t.Helper()
	var policy struct {
		Statement []struct {
			Effect, Resource string
			Action           []string
		}
	}
	decode(t, read(t, file), &policy)
	if len(policy.Statement) != 1 || policy.Statement[0].Effect != "Allow" || strings.Contains(policy.Statement[0].Resource, "*") ||
		!strings.HasSuffix(policy.Statement[0].Resource, ":table/breakerhttp") {
		t.Fatalf("%s: got %+v, want one statement that allows what concerns one table", file, policy.Statement)
	}
	return slices.Sorted(slices.Values(policy.Statement[0].Action))
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func decode(t *testing.T, text []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// dynamoDB notes what is asked of it, and answers so that the most is asked.
type dynamoDB struct {
	mu       sync.Mutex
	requests map[string][]byte // the latest, by action
}

func (d *dynamoDB) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_, operation, _ := strings.Cut(req.Header.Get("X-Amz-Target"), ".")
	body, _ := io.ReadAll(req.Body)
	d.mu.Lock()
	d.requests["dynamodb:"+operation] = body
	d.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch operation {
	case "UpdateItem":
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"}`)
	case "UpdateTimeToLive":
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"com.amazon.coral.validate#ValidationException","message":"TimeToLive is already enabled"}`)
	case "DescribeTable":
		_, _ = io.WriteString(w, `{"Table":{"TableStatus":"ACTIVE"}}`)
	case "DescribeTimeToLive":
		_, _ = io.WriteString(w, `{"TimeToLiveDescription":{"TimeToLiveStatus":"ENABLED"}}`)
	default:
		_, _ = io.WriteString(w, `{}`)
	}
}

// serve returns a store on d, whose server ends with t.
func (d *dynamoDB) serve(t *testing.T) *dynamodbstore.Store {
	srv := httptest.NewServer(d)
	t.Cleanup(srv.Close)
	return dynamodbstore.New(dynamodb.New(dynamodb.Options{
		BaseEndpoint: &srv.URL,
		HTTPClient:   srv.Client(),
		Region:       "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "id", SecretAccessKey: "secret"}, nil
		}),
	}), "breakerhttp")
}

// actions returns what has been asked, in order.
func (d *dynamoDB) actions() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.requests))
}
