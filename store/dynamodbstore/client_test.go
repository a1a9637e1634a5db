package dynamodbstore_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// connect returns a client of an endpoint, with the region and the credentials of the environment,
// if there are any.
func connect(endpoint string, opts ...func(*dynamodb.Options)) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(endpoint),
		// The server closes a connection after 5 s, perhaps just when it is used again. Since
		// nothing is retried, that request would fail.
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.IdleConnTimeout = time.Second }),
		Region:     cmp.Or(os.Getenv("AWS_REGION"), "us-east-1"),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{
				AccessKeyID:     cmp.Or(os.Getenv("AWS_ACCESS_KEY_ID"), "id"),
				SecretAccessKey: cmp.Or(os.Getenv("AWS_SECRET_ACCESS_KEY"), "secret"),
				SessionToken:    os.Getenv("AWS_SESSION_TOKEN"),
			}, nil
		}),
	}, opts...)
}

// newTable returns the name of a table that does not exist yet, and deletes the table when t ends.
func newTable(t *testing.T, client *dynamodb.Client) string {
	t.Helper()
	table := "breakerhttp-test-" + rand.Text()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		// It fails if the test has killed the server, which is just as good.
		_, _ = client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table}, func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
	})
	return table
}
