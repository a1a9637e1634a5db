package clients

import (
	"testing"

	"github.com/breakerhttp/breakerhttp/internal/snippettest"
)

// TestSnippets type-checks the Go of docs/clients.md.
func TestSnippets(t *testing.T) {
	snippettest.Scope{
		Packages: map[string]string{
			"azcore":            "github.com/Azure/azure-sdk-for-go/sdk/azcore",
			"breakerhttp":       "github.com/breakerhttp/breakerhttp",
			"clientcredentials": "golang.org/x/oauth2/clientcredentials",
			"config":            "github.com/aws/aws-sdk-go-v2/config",
			"connect":           "connectrpc.com/connect",
			"context":           "context",
			"credentials":       "github.com/minio/minio-go/v7/pkg/credentials",
			"docker":            "github.com/moby/moby/client",
			"dynamic":           "k8s.io/client-go/dynamic",
			"errors":            "errors",
			"healthpb":          "google.golang.org/grpc/health/grpc_health_v1",
			"http":              "net/http",
			"httpcache":         "github.com/gregjones/httpcache",
			"log":               "log",
			"minio":             "github.com/minio/minio-go/v7",
			"oauth2":            "golang.org/x/oauth2",
			"openai":            "github.com/openai/openai-go/v3",
			"option":            "github.com/openai/openai-go/v3/option",
			"rest":              "k8s.io/client-go/rest",
			"resty":             "github.com/go-resty/resty/v2",
			"retryable":         "github.com/breakerhttp/breakerhttp/retryable",
			"stripe":            "github.com/stripe/stripe-go/v84",
			"vault":             "github.com/hashicorp/vault/api",
		},
		Variables: `
	base     *http.Transport
	cfg      *rest.Config
	creds    *credentials.Credentials
	ctx      context.Context
	endpoint string
	secret   string
	t        *breakerhttp.Transport
	url      string
`,
	}.Check(t, "../../docs/clients.md")
}
