package dynamodbstore_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/breakerhttp/breakerhttp/internal/servertest"
	"github.com/breakerhttp/breakerhttp/store/dynamodbstore"
)

func TestCreateTable(t *testing.T) {
	client := connect(servertest.Dynalite(t).URL())
	s := dynamodbstore.New(client, newTable(t, client))
	// Several at once, and once more when the table exists.
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := s.CreateTable(t.Context()); err != nil {
				t.Errorf("CreateTable: %v", err)
			}
		})
	}
	wg.Wait()
	cur := swap(t, s, "key", 0, "value", time.Hour)
	if err := s.CreateTable(t.Context()); err != nil {
		t.Errorf("CreateTable of a table that exists: %v", err)
	}
	if got := load(t, s, "key"); got.Version != cur.Version {
		t.Errorf("version %d after CreateTable of a table that exists, want %d", got.Version, cur.Version)
	}
}

func TestNoTable(t *testing.T) {
	client := connect(servertest.Dynalite(t).URL())
	s := dynamodbstore.New(client, newTable(t, client))
	if items, err := s.Load(t.Context(), []string{"key"}); err == nil {
		t.Errorf("Load = %v, want an error", items)
	}
	if cur, swapped, err := s.CompareAndSwap(t.Context(), "key", 0, nil, time.Hour); err == nil {
		t.Errorf("CompareAndSwap = %v, swapped %v, want an error", cur, swapped)
	}
}

// TestTimeToLive uses an endpoint that knows UpdateTimeToLive. dynalite does not.
func TestTimeToLive(t *testing.T) {
	const (
		done    = `200 {}`
		invalid = `400 {"__type":"ValidationException","message":"TimeToLive is already enabled"}`
		unknown = `400 {"__type":"com.amazon.coral.service#UnknownOperationException"}`
		denied  = `400 {"__type":"AccessDeniedException","message":"not you"}`
	)
	status := func(s string) string {
		return fmt.Sprintf(`200 {"TimeToLiveDescription":{"TimeToLiveStatus":%q,"AttributeName":"expires"}}`, s)
	}
	for name, test := range map[string]struct {
		update, describe string
		fails            bool
	}{
		"enabled now":        {done, denied, false},
		"enabled before":     {invalid, status("ENABLED"), false},
		"enabled just now":   {invalid, status("ENABLING"), false},
		"no such operation":  {unknown, unknown, false},
		"not allowed":        {denied, denied, true},
		"being disabled":     {invalid, status("DISABLING"), true},
		"not allowed to ask": {invalid, denied, true},
	} {
		t.Run(name, func(t *testing.T) {
			var sent []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
				sent = append(sent, operation+string(body))
				answer := map[string]string{
					"CreateTable":        done,
					"DescribeTable":      `200 {"Table":{"TableStatus":"ACTIVE"}}`,
					"UpdateTimeToLive":   test.update,
					"DescribeTimeToLive": test.describe,
				}[operation]
				code, text, _ := strings.Cut(answer, " ")
				if code == "400" {
					w.WriteHeader(http.StatusBadRequest)
				}
				fmt.Fprint(w, text)
			}))
			defer server.Close()
			client := connect(server.URL, func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
			if err := dynamodbstore.New(client, "table").CreateTable(t.Context()); (err != nil) != test.fails {
				t.Errorf("CreateTable: error %v, want one: %v", err, test.fails)
			}
			if len(sent) < 3 || !strings.HasPrefix(sent[0], "CreateTable") || !strings.Contains(sent[0], "PAY_PER_REQUEST") {
				t.Errorf("sent %q, want CreateTable first, paid by request", sent)
			}
			if !slices.ContainsFunc(sent, func(s string) bool {
				return strings.HasPrefix(s, "UpdateTimeToLive") && strings.Contains(s, `"AttributeName":"expires"`) && strings.Contains(s, `"Enabled":true`)
			}) {
				t.Errorf("sent %q, want UpdateTimeToLive to enable it on expires", sent)
			}
		})
	}
}
