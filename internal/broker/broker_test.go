package broker

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func start(t *testing.T, cfg Config) *Broker {
	t.Helper()
	b, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestDataDirectoryHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	first := start(t, Config{DataDir: dir})
	_, err := Start(Config{DataDir: dir})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second broker: got %v, want %v with the directory's name", err, ErrInUse)
	}
	first.Close()
	start(t, Config{DataDir: dir})
}

func TestFailedStartGivesTheDirectoryFree(t *testing.T) {
	dir := t.TempDir()
	meta := filepath.Join(dir, "meta.json")
	if err := os.WriteFile(meta, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Config{DataDir: dir}); err == nil || !strings.Contains(err.Error(), "meta.json") {
		t.Fatalf("damaged directory: got %v, want an error that names the file", err)
	}
	if err := os.Remove(meta); err != nil {
		t.Fatal(err)
	}
	start(t, Config{DataDir: dir})
}

func TestAddress(t *testing.T) {
	taken, err := net.Listen("tcp", DefaultAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, addr := range []string{"127.0.0.1", ":0", "0.0.0.0:0", "[::]:0", taken.Addr().String()} {
		b, err := Start(Config{Addr: addr})
		if err == nil {
			b.Close()
			t.Errorf("address %q: started, want an error", addr)
			continue
		}
		if !strings.Contains(err.Error(), addr) {
			t.Errorf("address %q: the error does not name it: %v", addr, err)
		}
	}
	b := start(t, Config{})
	host, port, err := net.SplitHostPort(b.Addr())
	if err != nil || host != "127.0.0.1" || port == "0" {
		t.Errorf("default address: got %q, want a port on loopback", b.Addr())
	}
}

func TestCloseTwice(t *testing.T) {
	b := start(t, Config{DataDir: t.TempDir()})
	b.Close()
	b.Close()
}
