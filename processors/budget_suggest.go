package processors

import (
	"fmt"
	"math"

	"github.com/seed-2058fbc3/lookback/rules"
)

// Suggestion is how an app of a budget may be set, and why.
type Suggestion struct {
	Partitions int      `json:"partitions"`
	Store      string   `json:"store"`
	MaxMemory  int64    `json:"max_memory"`      // bytes, for each instance; 0: none, the store is memory
	Process    float64  `json:"memory_bytes"`    // that an instance takes then, about
	Disk       float64  `json:"disk_bytes"`      // that an instance takes then; 0 where the store is memory
	Restore    float64  `json:"restore_seconds"` // of CPU, of an instance without its local state
	Reasons    []string `json:"reasons"`
}

func (s *Suggestion) because(format string, args ...any) {
	s.Reasons = append(s.Reasons, fmt.Sprintf(format, args...))
}

// suggest sets the suggestion.
func (b *Budget) suggest(plan *rules.Plan, o BudgetOptions) {
	s := &b.Suggestion
	instances := float64(o.Instances)
	process, restore := b.Process/instances, b.Restore.ToMemory/instances
	switch {
	case process > float64(o.Memory):
		s.Store = "disk"
		s.because("store: an instance would take %s with its histories in memory, and may take %s", FormatBytes(process), FormatBytes(float64(o.Memory)))
	case restore > patientRestore:
		s.Store = "disk"
		s.because("store: a restart would read the whole changelog, %.0f s of CPU for an instance; from the disk it reads what is new", restore)
	default:
		s.Store = "memory"
		s.because("store: histories take %s of the %s that an instance may take, and a restart %.2g s of CPU", FormatBytes(process), FormatBytes(float64(o.Memory)), restore)
	}
	s.Process, s.Restore = process, restore
	s.partition(b, o.Instances)
	if s.Store == "memory" {
		return
	}
	s.Restore = b.Restore.ToDisk / instances
	logs := func(partitions int) float64 { return float64(partitions) * storeLogs(plan, int32(partitions)) }
	for i := range b.Keys {
		k := &b.Keys[i]
		s.Disk += (k.Disk + logs(s.Partitions) - logs(k.Partitions)) / instances
	}
	histories := b.Memory / instances
	keys := 0.0
	for i := range b.Keys {
		keys += b.Keys[i].Keys
	}
	wanted := max(roundUp(histories*cacheShare+keys/instances*blockFilter, budgetStep), smallestBudget)
	s.MaxMemory = int64(min(wanted, float64(o.Memory)))
	s.Process = float64(s.MaxMemory)
	if room := float64(s.MaxMemory) / cacheShare; room < histories {
		s.because("max_memory: a quarter of it has room for %.2g%% of the histories, and the rest is read from the disk: give more memory or more instances where events are slow (with little room the measured speed fell from 170,000 to 6,000 events per CPU-second)",
			100*room/histories)
	} else {
		s.because("max_memory: a quarter of it has room for all histories, %s", FormatBytes(histories))
	}
}

// partitionCounts are those that can be shared evenly by many numbers of instances.
var partitionCounts = []int{8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024}

// partition says how many partitions there should be.
func (s *Suggestion) partition(b *Budget, instances int) {
	byRate, byState, each := 0.0, 0.0, float64(bytesPerTable)
	if s.Store == "disk" {
		each = bytesPerStore
	}
	for i := range b.Keys {
		k := &b.Keys[i]
		rate := 0.0
		for _, stream := range k.Streams {
			rate += stream.Rate
		}
		speed := float64(eventsPerCPU)
		if k.Direct {
			speed = directPerCPU
		}
		byRate = max(byRate, math.Ceil(busiest*rate/speed))
		if s.Store == "disk" {
			byState = max(byState, math.Ceil(k.Disk/each))
		} else {
			byState = max(byState, math.Ceil(k.Memory/each))
		}
	}
	need := max(byRate, byState, float64(2*instances))
	s.Partitions = partitionCounts[len(partitionCounts)-1]
	for _, n := range partitionCounts {
		if float64(n) >= need {
			s.Partitions = n
			break
		}
	}
	s.because("partitions: at least %.0f for the rate (a partition is one CPU's work, and must catch up), %.0f for the state (%s of each), %d for the instances",
		byRate, byState, FormatBytes(each), 2*instances)
	if need > float64(s.Partitions) {
		s.because("that is more than anybody runs: keep less, by shorter windows or fewer events")
	}
}

// FormatBytes writes a size in three digits or so.
func FormatBytes(n float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for ; n >= 999.5 && i < len(units)-1; i++ {
		n /= 1000
	}
	if i == 0 || n >= 99.95 {
		return fmt.Sprintf("%.0f %s", n, units[i])
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}
