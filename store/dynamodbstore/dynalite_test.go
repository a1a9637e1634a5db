package dynamodbstore_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// A dynalite is a process that answers as DynamoDB does, on a free port of the
// loopback interface.
type dynalite struct {
	endpoint string
	cmd      *exec.Cmd
}

// survive keeps dynalite 4.0.0 from ending when a client breaks off a request,
// which it takes for a fault of its own.
const survive = `data:text/javascript,process.on("uncaughtException",e=>{if(e.code!=="ECONNRESET")throw e})`

// startDynalite starts the command-line program that DYNALITE names, or else the
// one in the repository's build folder, and stops it when t ends. Without one it
// skips t, or fails it if BREAKERHTTP_REQUIRE_SERVERS is 1.
func startDynalite(t *testing.T) *dynalite {
	t.Helper()
	return startDynaliteAt(t, freeAddr(t))
}

func startDynaliteAt(t *testing.T, addr string) *dynalite {
	t.Helper()
	cli := os.Getenv("DYNALITE")
	if cli == "" {
		cli = filepath.FromSlash("../../build/dynalite/node_modules/dynalite/cli.js")
	}
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(cli)
	}
	if err != nil && os.Getenv("BREAKERHTTP_REQUIRE_SERVERS") == "1" {
		t.Fatalf("no dynalite: %v; DYNALITE names its cli.js", err)
	}
	if err != nil {
		t.Skipf("no dynalite: %v; DYNALITE names its cli.js", err)
	}
	host, port, _ := net.SplitHostPort(addr)
	d := &dynalite{
		endpoint: "http://" + addr,
		cmd:      exec.Command(node, "--import", survive, cli, "--host", host, "--port", port, "--createTableMs", "200"),
	}
	var out strings.Builder
	d.cmd.Stdout, d.cmd.Stderr = &out, &out
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("starting dynalite: %v", err)
	}
	t.Cleanup(d.kill)
	eventually(t, "dynalite to listen", func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err
	})
	return d
}

func (d *dynalite) kill() {
	_ = d.cmd.Process.Kill()
	_ = d.cmd.Wait()
}

// connect returns a client of an endpoint, with the region and the credentials
// of the environment if there are any.
func connect(endpoint string, opts ...func(*dynamodb.Options)) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(endpoint),
		// Less than the 5s after which node closes a connection, maybe just as it
		// is used again: what is never retried fails then.
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

// newTable returns the name of a table that there is not yet, and deletes the
// table when t ends.
func newTable(t *testing.T, client *dynamodb.Client) string {
	t.Helper()
	table := "breakerhttp-test-" + rand.Text()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		// It fails where the test has killed the server, which is as good.
		_, _ = client.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table}, func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
	})
	return table
}

// freeAddr returns an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func eventually(t *testing.T, what string, met func() error) {
	t.Helper()
	start := time.Now()
	for err := met(); err != nil; err = met() {
		if time.Since(start) > 10*time.Second {
			t.Fatalf("still waiting for %s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
