// Lambda is an AWS Lambda function that calls a host, with a circuit that all
// environments of the function share through DynamoDB.
//
// Outside of Lambda it starts a host on loopback, plays a few invocations in three
// environments while the host is healthy, down and healthy again, and prints them.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/store/dynamodbstore"
)

func main() {
	openFor := flag.Duration("open-for", 2*time.Second, "outside of Lambda, how long a circuit stays open; the default in Lambda is a minute")
	flag.Parse()
	work := serve
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") == "" {
		work = func(context.Context) error { return demo(os.Stdout, *openFor) }
	}
	if err := work(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "lambda:", err)
		os.Exit(1)
	}
}

// serve is what an environment does in its whole life. All that comes before
// lambda.Start happens once: the client, its circuits and its connections serve
// every invocation. A client made in the handler would never see five failures.
func serve(ctx context.Context) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	store := dynamodbstore.New(dynamodb.NewFromConfig(cfg), cmp.Or(os.Getenv("CIRCUITS_TABLE"), "breakerhttp"))
	f, err := newFunction(os.Getenv("SHOP_URL"), nil, store, os.Getenv("AWS_LAMBDA_LOG_STREAM_NAME"), breakerhttp.Policy{})
	if err != nil {
		return err
	}
	lambda.Start(f.handle)
	return nil
}
