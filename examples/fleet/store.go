package main

import (
	"cmp"
	"context"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/redis/go-redis/v9"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/store/dynamodbstore"
	"github.com/breakerhttp/breakerhttp/store/redisstore"
)

// table is where DynamoDB keeps the records.
const table = "breakerhttp-fleet"

// store returns what circuits are shared through, or nil.
func (a assignment) store() breakerhttp.Store {
	switch {
	case a.Redis != "":
		return redisstore.New(redis.NewClient(&redis.Options{
			Addr:                  a.Redis,
			ContextTimeoutEnabled: true,
			DialerRetries:         1,
		}))
	case a.DynamoDB != "":
		return dynamodbstore.New(dynamoDB(a.DynamoDB), table)
	default:
		return nil
	}
}

// prepare makes the table, if the store has one.
func (a assignment) prepare() error {
	if a.DynamoDB == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return dynamodbstore.New(dynamoDB(a.DynamoDB), table).CreateTable(ctx)
}

func dynamoDB(endpoint string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: &endpoint,
		// Less than the 5s after which servers on node close a connection, maybe
		// just as it is used again.
		HTTPClient: awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.IdleConnTimeout = time.Second }),
		Region:     cmp.Or(os.Getenv("AWS_REGION"), "us-east-1"),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{
				AccessKeyID:     cmp.Or(os.Getenv("AWS_ACCESS_KEY_ID"), "id"),
				SecretAccessKey: cmp.Or(os.Getenv("AWS_SECRET_ACCESS_KEY"), "secret"),
				SessionToken:    os.Getenv("AWS_SESSION_TOKEN"),
			}, nil
		}),
	})
}
