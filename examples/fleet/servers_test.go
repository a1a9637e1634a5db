//go:build unix

package main

import (
	"cmp"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// startRedis starts the binary that REDIS_SERVER names, or else redis-server
// from PATH, and returns its address.
func startRedis(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath(cmp.Or(os.Getenv("REDIS_SERVER"), "redis-server"))
	if err != nil {
		lack(t, "no Redis server: %v; REDIS_SERVER names one", err)
	}
	addr := freeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	startServer(t, addr, path, "--bind", host, "--port", port, "--save", "", "--dir", t.TempDir())
	return addr
}

// survive keeps dynalite 4.0.0 from ending when a client breaks off a request,
// which it takes for a fault of its own.
const survive = `data:text/javascript,process.on("uncaughtException",e=>{if(e.code!=="ECONNRESET")throw e})`

// startDynamoDB returns DYNAMODB_ENDPOINT if that is set. Otherwise it starts
// the dynalite that DYNALITE names, or else the one in the repository's build
// folder, and returns its endpoint.
func startDynamoDB(t *testing.T) string {
	t.Helper()
	if endpoint := os.Getenv("DYNAMODB_ENDPOINT"); endpoint != "" {
		return endpoint
	}
	cli := cmp.Or(os.Getenv("DYNALITE"), filepath.FromSlash("../../build/dynalite/node_modules/dynalite/cli.js"))
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(cli)
	}
	if err != nil {
		lack(t, "no dynalite: %v; DYNALITE names its cli.js", err)
	}
	addr := freeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	startServer(t, addr, node, "--import", survive, cli, "--host", host, "--port", port, "--createTableMs", "200")
	return "http://" + addr
}

// lack skips t, or fails it if BREAKERHTTP_REQUIRE_SERVERS is 1.
func lack(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("BREAKERHTTP_REQUIRE_SERVERS") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// startServer starts a program, waits until it listens on addr, and stops it
// when t ends.
func startServer(t *testing.T, addr, path string, args ...string) {
	t.Helper()
	cmd := exec.Command(path, args...)
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, path+" to listen", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
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
