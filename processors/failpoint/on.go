//go:build failpoints

package failpoint

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// chances are the places that LOOKBACK_FAILPOINT names.
var chances = sync.OnceValue(func() map[string]float64 {
	points := map[string]float64{}
	for part := range strings.SplitSeq(os.Getenv("LOOKBACK_FAILPOINT"), ",") {
		name, chance, given := strings.Cut(strings.TrimSpace(part), ":")
		if name == "" {
			continue
		}
		points[name] = 1
		if given {
			p, err := strconv.ParseFloat(chance, 64)
			if err != nil {
				fmt.Fprintf(os.Stderr, "LOOKBACK_FAILPOINT: %q is no chance\n", chance)
				os.Exit(2)
			}
			points[name] = p
		}
	}
	return points
})

// Hit kills the process, as likely as the environment says for the place.
func Hit(name string) {
	if p := chances()[name]; p > 0 && rand.Float64() < p {
		fmt.Fprintf(os.Stderr, "failpoint %s: killing the process\n", name)
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			panic(err)
		}
		select {}
	}
}

// On tells whether the environment names the place: how a test build is given a bug that its tests must find.
func On(name string) bool { return chances()[name] > 0 }
