// Package apache runs Apache Kafka from its published jars, as one KRaft process on loopback. It needs Java 17 and Maven on
// the PATH and a Unix shell, and is meant for tests and for trying things out, never for production.
package apache

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Version is the release of Apache Kafka that runs.
const Version = "4.1.2"

// CacheEnv names the directory that holds the jars; without it they are in the user's cache directory.
const CacheEnv = "LOOKBACK_KAFKA_DIR"

// pom lists the jars.
//
//go:embed pom.xml
var pom []byte

// copyJars is the Maven goal that fetches what a pom lists, pinned so that a machine's own default does not matter.
const copyJars = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

// ErrUnavailable reports that this machine lacks what Apache Kafka needs.
var ErrUnavailable = errors.New("this machine cannot run Apache Kafka")

// Distribution is a set of jars on disk.
type Distribution struct{ lib string }

// Available says why Apache Kafka cannot run on this machine, or nil. The error matches [ErrUnavailable].
func Available() error {
	for _, tool := range []string{"sh", "java", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: %s is not on the PATH", ErrUnavailable, tool)
		}
	}
	return nil
}

// Fetch returns the jars from the cache and downloads them there first if they are missing. Processes that fetch at the
// same time wait for one another. A changed pom gets a directory of its own.
func Fetch(ctx context.Context) (Distribution, error) {
	if err := Available(); err != nil {
		return Distribution{}, err
	}
	cache, err := cacheDir()
	if err != nil {
		return Distribution{}, fmt.Errorf("find a cache directory for Apache Kafka: %w", err)
	}
	sum := sha256.Sum256(pom)
	dist := Distribution{lib: filepath.Join(cache, "lib-"+Version+"-"+hex.EncodeToString(sum[:4]))}
	if dist.complete() {
		return dist, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Distribution{}, fmt.Errorf("create cache directory: %w", err)
	}
	unlock, err := lockFile(filepath.Join(cache, "lock"))
	if err != nil {
		return Distribution{}, fmt.Errorf("lock cache directory: %w", err)
	}
	defer unlock()
	if dist.complete() {
		return dist, nil
	}
	return dist, download(ctx, cache, dist.lib)
}

func cacheDir() (string, error) {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	user, err := os.UserCacheDir()
	return filepath.Join(user, "lookback", "kafka"), err
}

// complete holds once the directory exists, because it gets its name only when everything is in it.
func (d Distribution) complete() bool {
	info, err := os.Stat(d.lib)
	return err == nil && info.IsDir()
}

// classpath is quoted by nobody: java expands the asterisk itself.
func (d Distribution) classpath() string { return filepath.Join(d.lib, "*") }

// Command returns one of Kafka's own programs, such as org.apache.kafka.tools.ConsoleProducer, ready to start.
func (d Distribution) Command(ctx context.Context, class string, args ...string) *exec.Cmd {
	line := d.java("-Xmx256m", class, args...)
	return exec.CommandContext(ctx, line[0], line[1:]...)
}

func download(ctx context.Context, cache, lib string) error {
	work, err := os.MkdirTemp(cache, "download-")
	if err != nil {
		return fmt.Errorf("download Apache Kafka: %w", err)
	}
	defer os.RemoveAll(work)
	file := filepath.Join(work, "pom.xml")
	if err := os.WriteFile(file, pom, 0o644); err != nil {
		return fmt.Errorf("download Apache Kafka: %w", err)
	}
	part := filepath.Join(work, "lib")
	mvn := exec.CommandContext(ctx, "mvn", "--batch-mode", "--quiet", "--file", file, copyJars,
		"-DoutputDirectory="+part, "-DincludeScope=runtime")
	var out bytes.Buffer
	mvn.Stdout, mvn.Stderr = &out, &out
	if err := mvn.Run(); err != nil {
		return fmt.Errorf("download Apache Kafka: mvn: %w\n%s", err, tail(out.Bytes()))
	}
	if err := os.Rename(part, lib); err != nil {
		return fmt.Errorf("download Apache Kafka: %w", err)
	}
	return nil
}

// tail is the end of a log, enough to see what went wrong.
func tail(log []byte) []byte {
	const enough = 4 << 10
	if len(log) > enough {
		log = log[len(log)-enough:]
	}
	return bytes.TrimSpace(log)
}
