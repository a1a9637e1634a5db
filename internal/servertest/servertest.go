// Package servertest starts the real servers that tests talk to: processes on
// free ports of the loopback interface, which end with their test.
package servertest

import (
	"cmp"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Server is a process that listens.
type Server struct {
	Addr string // host and port

	cmd    *exec.Cmd
	output strings.Builder // once it has ended
}

// Redis starts the program that REDIS_SERVER names, or else redis-server from
// PATH, with more arguments. Without one it skips t, or fails it if
// BREAKERHTTP_REQUIRE_SERVERS is 1.
func Redis(t testing.TB, args ...string) *Server {
	t.Helper()
	return RedisAt(t, FreeAddr(t), args...)
}

// RedisAt is [Redis] on a certain address.
func RedisAt(t testing.TB, addr string, args ...string) *Server {
	t.Helper()
	return startRedis(t, addr, lookRedis(t), args...)
}

// Valkey starts valkey-server. Not every system has one: without it, t is skipped.
func Valkey(t testing.TB) *Server {
	t.Helper()
	path, err := exec.LookPath("valkey-server")
	if err != nil {
		t.Skip(err)
	}
	return startRedis(t, FreeAddr(t), path)
}

func startRedis(t testing.TB, addr, path string, args ...string) *Server {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	return start(t, addr, path, append([]string{"--bind", host, "--port", port, "--save", ""}, args...)...)
}

func lookRedis(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath(cmp.Or(os.Getenv("REDIS_SERVER"), "redis-server"))
	if err != nil {
		lack(t, "no Redis server: %v; REDIS_SERVER names one", err)
	}
	return path
}

// Sentinel starts a Redis Sentinel that watches the server at master under the name "primary", and
// replaces it after it has been silent for a third of a second.
func Sentinel(t testing.TB, master string) *Server {
	t.Helper()
	path := lookRedis(t)
	addr := FreeAddr(t)
	host, port, _ := net.SplitHostPort(addr)
	masterHost, masterPort, _ := net.SplitHostPort(master)
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	lines := []string{
		"bind " + host,
		"port " + port,
		"sentinel monitor primary " + masterHost + " " + masterPort + " 1",
		"sentinel down-after-milliseconds primary 300",
		"sentinel failover-timeout primary 3000",
	}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, addr, path, config, "--sentinel")
}

// survive keeps dynalite 4.0.0 from ending when a client breaks off a request,
// which it takes for a fault of its own.
const survive = `data:text/javascript,process.on("uncaughtException",e=>{if(e.code!=="ECONNRESET")throw e})`

// Dynalite starts the program that DYNALITE names, or else the one in the
// repository's build folder, which answers as DynamoDB does. Without one it skips
// t, or fails it if BREAKERHTTP_REQUIRE_SERVERS is 1.
func Dynalite(t testing.TB) *Server {
	t.Helper()
	return DynaliteAt(t, FreeAddr(t))
}

// DynaliteAt is [Dynalite] on a certain address.
func DynaliteAt(t testing.TB, addr string) *Server {
	t.Helper()
	cli := cmp.Or(os.Getenv("DYNALITE"), filepath.Join(root(t), "build", "dynalite", "node_modules", "dynalite", "cli.js"))
	node, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(cli)
	}
	if err != nil {
		lack(t, "no dynalite: %v; DYNALITE names its cli.js", err)
	}
	host, port, _ := net.SplitHostPort(addr)
	return start(t, addr, node, "--import", survive, cli, "--host", host, "--port", port, "--createTableMs", "200")
}

// DynamoDBLocal starts Amazon's DynamoDB Local from the folder that DYNAMODB_LOCAL names, or else
// from the repository's build folder. It keeps its data in memory. Without it or without Java it
// skips t, or fails it if BREAKERHTTP_REQUIRE_SERVERS is 1.
//
// It takes seconds to start. It listens on all interfaces, because it knows no other way.
func DynamoDBLocal(t testing.TB) *Server {
	t.Helper()
	dir := cmp.Or(os.Getenv("DYNAMODB_LOCAL"), filepath.Join(root(t), "build", "dynamodb-local"))
	jar := filepath.Join(dir, "DynamoDBLocal.jar")
	java, err := exec.LookPath("java")
	if err == nil {
		_, err = os.Stat(jar)
	}
	if err != nil {
		lack(t, "no DynamoDB Local: %v; DYNAMODB_LOCAL names its folder", err)
	}
	addr := FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	return start(t, addr, java, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", // start in half of the time
		"-Djava.library.path="+filepath.Join(dir, "DynamoDBLocal_lib"), "-jar", jar, "-inMemory", "-disableTelemetry", "-port", port)
}

// root is the repository's folder, where the workspace is.
func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
	}
	return ""
}

func lack(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("BREAKERHTTP_REQUIRE_SERVERS") == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func start(t testing.TB, addr, path string, args ...string) *Server {
	t.Helper()
	s := &Server{Addr: addr, cmd: exec.Command(path, args...)}
	s.cmd.Dir = t.TempDir() // for the files that a server leaves where it was started
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	t.Cleanup(func() {
		if s.Kill(); t.Failed() {
			t.Logf("%s said:\n%s", path, &s.output)
		}
	})
	eventually(t, 3*time.Minute, path+" to listen", func() error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return s
}

// URL is for a server that speaks HTTP.
func (s *Server) URL() string { return "http://" + s.Addr }

// Kill stops the server without letting it say goodbye.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// FreeAddr returns an address on which nobody listens.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Eventually waits until met returns nil, or fails t after 20s.
func Eventually(t testing.TB, what string, met func() error) {
	t.Helper()
	eventually(t, 20*time.Second, what, met)
}

func eventually(t testing.TB, limit time.Duration, what string, met func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for err := met(); err != nil; err = met() {
		if time.Now().After(deadline) {
			t.Fatalf("still waiting for %s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Within returns call's error, and wants it within limit: by a timer and not by
// the clock, so that a machine too busy to run this test at all does not fail it.
func Within(t testing.TB, limit time.Duration, what string, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
	}
	select {
	case err := <-done:
		return err
	default:
		t.Errorf("%s has not returned after %v", what, limit)
		return <-done
	}
}
