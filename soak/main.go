// Command soak proves exactly-once delivery by trying to break it. It runs three instances of the program over twelve
// partitions of Apache Kafka, puts a seeded load on them, and kills, stops, replaces and restarts them and the broker, and
// takes their disks away. In rounds it lets the program finish and holds the outputs against what they must be. What they
// must be it knows from docs/semantics.md alone: nothing of the program is used, only the client library of the embedded
// broker.
//
//	soak -minutes 60 [-seed N] [-broker apache|embedded] [-bug NAME]
//
// It ends with 1 where anything was wrong, says what, and keeps data and logs.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	cfg := config{}
	minutes := flag.Float64("minutes", 10, "how long there is load")
	flag.Uint64Var(&cfg.Seed, "seed", 0, "seed of the load and of the harm (default: a new one)")
	flag.DurationVar(&cfg.Round, "round", 3*time.Minute, "time between two checks")
	flag.IntVar(&cfg.Rate, "rate", 3000, "events per second")
	flag.StringVar(&cfg.Broker, "broker", "apache", "apache or embedded")
	flag.StringVar(&cfg.Harms, "harms", "", "kinds of harm, with commas between: crash, zombie, replace, restart, join, disk, broker (default: all)")
	flag.DurationVar(&cfg.Every, "every", 5*time.Second, "mean time between two harms; 0: none")
	flag.DurationVar(&cfg.FailpointEvery, "failpoint-every", time.Minute, "mean time between two deaths of an instance at a fail point; 0: none")
	flag.StringVar(&cfg.Bug, "bug", "", "put a bug in: apply-before-commit, offsets-outside-transaction, read-uncommitted-restore")
	flag.StringVar(&cfg.Delivery, "delivery", "exactly_once", "exactly_once or at_least_once")
	flag.StringVar(&cfg.Binary, "binary", "", "a lookback built with -tags failpoints (default: built from here)")
	flag.StringVar(&cfg.Dir, "dir", "", "directory that keeps data and logs, with a log of all harm (default: temporary)")
	findAll := flag.Bool("bugs", false, "put each of the known bugs in, in turn, and fail unless differences are found")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "soak: argument %q: there are only flags, see -help\n", flag.Arg(0))
		os.Exit(2)
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64() >> 11
	}
	cfg.For = time.Duration(*minutes * float64(time.Minute))
	cfg.Round = min(cfg.Round, cfg.For)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Printf("soak: seed %d, %s on %s, %d events/s\n", cfg.Seed, cfg.For, cfg.Broker, cfg.Rate)
	if *findAll {
		all, err := findBugs(ctx, cfg, os.Stdout)
		if err != nil {
			fmt.Fprintln(os.Stderr, "soak:", err)
		}
		if err != nil || !all {
			os.Exit(1)
		}
		return
	}
	res, err := soak(ctx, cfg, os.Stdout)
	res.print(os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	if err != nil || !res.ok() {
		os.Exit(1)
	}
}
