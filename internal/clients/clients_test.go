package clients

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azruntime "github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/go-resty/resty/v2"
	vault "github.com/hashicorp/vault/api"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/stripe/stripe-go/v84"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/breakerhttp/breakerhttp"
	"github.com/breakerhttp/breakerhttp/retryable"
)

// A call is one call of a client at a server.
type call func(context.Context) error

// clients are set up as docs/clients.md says.
var clients = []struct {
	name   string
	answer string // of a healthy server
	setUp  func(t *testing.T, url string, tr *breakerhttp.Transport) call
}{
	{"net/http", "", func(_ *testing.T, url string, tr *breakerhttp.Transport) call {
		client := &http.Client{Transport: tr}
		return func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}
	}},
	{"aws-sdk-go-v2", "{}", func(_ *testing.T, url string, tr *breakerhttp.Transport) call {
		client := dynamodb.NewFromConfig(aws.Config{
			Region:       "eu-central-1",
			BaseEndpoint: &url,
			Credentials:  aws.AnonymousCredentials{},
			HTTPClient:   &http.Client{Transport: tr},
		})
		return func(ctx context.Context) error {
			_, err := client.ListTables(ctx, nil)
			return err
		}
	}},
	{"azcore", "", func(_ *testing.T, url string, tr *breakerhttp.Transport) call {
		pipeline := azruntime.NewPipeline("test", "v1", azruntime.PipelineOptions{}, &azcore.ClientOptions{
			Transport: &http.Client{Transport: tr},
		})
		return func(ctx context.Context) error {
			req, err := azruntime.NewRequest(ctx, http.MethodGet, url)
			if err != nil {
				return err
			}
			resp, err := pipeline.Do(req)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}
	}},
	{"vault", "{}", func(t *testing.T, url string, tr *breakerhttp.Transport) call {
		config := vault.DefaultConfig()
		config.Address = url
		config.HttpClient.Transport = tr
		config.CheckRetry = retryable.CheckRetry(vault.DefaultRetryPolicy)
		client, err := vault.NewClient(config)
		if err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context) error {
			_, err := client.Logical().ReadWithContext(ctx, "secret/a")
			return err
		}
	}},
	{"minio", `<ListAllMyBucketsResult></ListAllMyBucketsResult>`, func(t *testing.T, url string, tr *breakerhttp.Transport) call {
		client, err := minio.New(strings.TrimPrefix(url, "http://"), &minio.Options{
			Creds:      credentials.NewStaticV4("key", "secret", ""),
			Transport:  tr,
			MaxRetries: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context) error {
			_, err := client.ListBuckets(ctx)
			return err
		}
	}},
	{"stripe", "{}", func(_ *testing.T, url string, tr *breakerhttp.Transport) call {
		return customer(url, &stripe.BackendConfig{HTTPClient: &http.Client{Transport: tr}, MaxNetworkRetries: stripe.Int64(0)})
	}},
	{"openai", `{"object": "list", "data": []}`, func(_ *testing.T, url string, tr *breakerhttp.Transport) call {
		return models(url, option.WithHTTPClient(&http.Client{Transport: tr}), option.WithMaxRetries(0))
	}},
	{"client-go", "{}", func(t *testing.T, url string, tr *breakerhttp.Transport) call {
		return kubernetes(t, url, tr)
	}},
	{"connect-go", "", func(_ *testing.T, url string, tr *breakerhttp.Transport) call {
		client := connect.NewClient[healthpb.HealthCheckRequest, healthpb.HealthCheckResponse](&http.Client{Transport: tr}, url+check)
		return func(ctx context.Context) error {
			_, err := client.CallUnary(ctx, connect.NewRequest(&healthpb.HealthCheckRequest{}))
			return err
		}
	}},
	{"resty", "", func(_ *testing.T, url string, tr *breakerhttp.Transport) call {
		client := resty.New().SetTransport(tr).SetRetryCount(3).AddRetryCondition(func(resp *resty.Response, err error) bool {
			return err != nil && !errors.Is(err, breakerhttp.ErrOpen) || resp.StatusCode() >= 500
		})
		return func(ctx context.Context) error {
			_, err := client.R().SetContext(ctx).Get(url)
			return err
		}
	}},
}

// customer asks Stripe for a customer.
func customer(url string, config *stripe.BackendConfig) call {
	config.URL, config.LeveledLogger = &url, &stripe.LeveledLogger{}
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, config)
	return func(ctx context.Context) error {
		params := &stripe.CustomerParams{Params: stripe.Params{Context: ctx}}
		return backend.Call(http.MethodGet, "/v1/customers/a", "key", params, &stripe.Customer{})
	}
}

// models asks OpenAI for a list of models.
func models(url string, opts ...option.RequestOption) call {
	client := openai.NewClient(append(opts, option.WithBaseURL(url), option.WithAPIKey("key"))...)
	return func(ctx context.Context) error {
		_, err := client.Models.List(ctx)
		return err
	}
}

// kubernetes asks an API server for its version, as a clientset does.
func kubernetes(t *testing.T, url string, tr *breakerhttp.Transport) call {
	client, err := rest.UnversionedRESTClientForConfigAndClient(&rest.Config{
		Host: url,
		ContentConfig: rest.ContentConfig{
			NegotiatedSerializer: serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion(),
		},
	}, &http.Client{Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context) error {
		_, err := client.Get().AbsPath("/version").DoRaw(ctx)
		return err
	}
}

// TestRefusals: a refusal ends a call of each client at its first attempt, and the
// caller finds the *OpenError in the error.
func TestRefusals(t *testing.T) {
	for _, tt := range clients {
		t.Run(tt.name, func(t *testing.T) {
			url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				w.Header().Set("Content-Type", cmp.Or(req.Header.Get("Content-Type"), "application/json"))
				_, _ = io.WriteString(w, tt.answer)
			}))
			tr := newTransport(t, newBase(t))
			call := tt.setUp(t, url, tr)
			if err := call(t.Context()); err != nil {
				t.Errorf("of a healthy host: %v", err)
			}
			tr.ForceOpen(url)
			err := call(t.Context())
			var open *breakerhttp.OpenError
			if !errors.Is(err, breakerhttp.ErrOpen) || !errors.As(err, &open) {
				t.Errorf("got error %v (%T), want one that holds the refusal", err, err)
			}
			want := breakerhttp.Totals{Success: 1, Refused: 1}
			if got := snapshot(t, tr, url).Totals; got != want {
				t.Errorf("got totals %+v, want %+v", got, want)
			}
		})
	}
}

// TestFallbackForbidsRetries: OpenAI's client does not retry the answer of a fallback
// that has the header against that.
func TestFallbackForbidsRetries(t *testing.T) {
	url := serve(t, http.NotFoundHandler())
	tr := newTransport(t, newBase(t), breakerhttp.WithFallback(
		func(req *http.Request, refusal *breakerhttp.OpenError) (*http.Response, error) {
			resp, err := breakerhttp.ServiceUnavailable(req, refusal)
			resp.Header.Set("X-Should-Retry", "false")
			return resp, err
		}))
	tr.ForceOpen(url)
	if err := models(url, option.WithHTTPClient(&http.Client{Transport: tr}))(t.Context()); err == nil {
		t.Error("got no error, want that of a status 503")
	}
	if got := snapshot(t, tr, url).Totals; got != (breakerhttp.Totals{Refused: 1}) {
		t.Errorf("got totals %+v, want one refusal", got)
	}
}

// serve starts a server for HTTP/1 and, without TLS, HTTP/2.
func serve(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.URL
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newBase(t *testing.T) *http.Transport {
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	return base
}

// newTransport is breakerhttp.New for options that are right.
func newTransport(t *testing.T, base http.RoundTripper, opts ...breakerhttp.Option) *breakerhttp.Transport {
	t.Helper()
	tr, err := breakerhttp.New(base, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func snapshot(t *testing.T, tr *breakerhttp.Transport, key string) breakerhttp.Snapshot {
	t.Helper()
	s, ok := tr.Snapshot(key)
	if !ok {
		t.Fatalf("there is no circuit %q", key)
	}
	return s
}
