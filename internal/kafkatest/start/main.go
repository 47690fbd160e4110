// Command start runs Apache Kafka in the foreground, for trying Lookback against it without Docker. It needs Java 17 and
// Maven; the first run downloads the jars.
//
//	start [-port 9092] [-dir DIR] [-fetch]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest/apache"
)

func main() {
	port := flag.Int("port", 9092, "port on 127.0.0.1 that clients connect to")
	dir := flag.String("dir", "", "directory that keeps the data (default: temporary, removed at the end)")
	fetch := flag.Bool("fetch", false, "only download the jars; not an error where Java or Maven is missing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *port, *dir, *fetch); err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, port int, dir string, fetch bool) error {
	if fetch {
		if err := apache.Available(); errors.Is(err, apache.ErrUnavailable) {
			fmt.Printf("%v: tests run on the embedded broker only\n", err)
			return nil
		}
	}
	dist, err := apache.Fetch(ctx)
	if err != nil {
		return err
	}
	if fetch {
		fmt.Printf("Apache Kafka %s is ready: tests run on it and on the embedded broker\n", apache.Version)
		return nil
	}
	if dir != "" {
		if dir, err = filepath.Abs(dir); err != nil {
			return err
		}
	}
	server, err := dist.Start(ctx, apache.Options{Port: port, Dir: dir})
	if err != nil {
		return err
	}
	defer server.Stop()
	fmt.Printf("Apache Kafka %s at %s, Ctrl-C ends it\n", apache.Version, server.Addr())
	select {
	case <-ctx.Done():
		return nil
	case <-server.Done():
		return fmt.Errorf("the process has ended by itself:\n%s", server.Log())
	}
}
