package processors

import (
	"fmt"
	"math"

	"github.com/seed-2058fbc3/lookback/rules"
)

// BudgetOptions are what a budget does not find in the rules.
type BudgetOptions struct {
	Instances int     // that share the work
	Memory    int64   // bytes that each of them may take
	ToMemory  float64 // changelog records that a CPU-second restores into memory
	ToDisk    float64 // and onto disk
}

// DefaultBudgetOptions has what was measured (docs/design.md, section 12).
func DefaultBudgetOptions() BudgetOptions {
	return BudgetOptions{Instances: 1, Memory: 8e9, ToMemory: 530_000, ToDisk: 353_000}
}

// Measured: what is not reckoned from rules and traffic.
const (
	diskFactor     = 1.15 // of a store on the disk to the entries in it: what is out of date, indexes, filters
	logFactor      = 2    // of a store's logs to what it collects before it writes a file
	processFactor  = 1.5  // of a process to its histories: room for the garbage collector, and what is not in use
	emptyProcess   = 150e6
	blockFilter    = 4      // bytes per key that tell whether it is on the disk
	eventsPerCPU   = 85_000 // events that `run` handles in a CPU-second, repartitioned
	directPerCPU   = 133_000
	kafkaRecord    = 9 // bytes of a record in a batch beside key and value
	kafkaBatch     = 61
	kafkaSegment   = 1 << 30 // Kafka deletes whole segments
	shuffleHead    = 22      // bytes of a repartition record before the row
	trimSeconds    = 30
	secondsPerDay  = 86_400
	busiest        = 2            // how many times its rate a partition must be able to work off, to catch up
	bytesPerTable  = 4e9          // of a partition's histories in memory, beyond which its restore takes minutes
	bytesPerStore  = 64e9         // likewise of its store on the disk
	patientRestore = 10 * 60      // seconds that a restart of an instance may take
	cacheShare     = 4            // histories are allowed so much of max_memory: a quarter
	smallestBudget = 1 * 1000e6   // of max_memory
	budgetStep     = 500 * 1000e3 // max_memory is suggested in multiples of it
)

// Budget is what state takes in the long run. Sizes are in bytes, of one copy: topics are kept as often as their replication says.
type Budget struct {
	Keys       []KeyBudget `json:"keys"`
	Memory     float64     `json:"memory_bytes"`  // histories of store: memory
	Process    float64     `json:"process_bytes"` // of all instances together, with them
	Disk       float64     `json:"disk_bytes"`    // store: disk
	Changelog  float64     `json:"changelog_bytes"`
	Restore    Restore     `json:"restore"`
	Suggestion Suggestion  `json:"suggestion"`
}

// KeyBudget is what the state of a key group takes.
type KeyBudget struct {
	Key         string            `json:"key"`
	Direct      bool              `json:"direct"`
	Partitions  int               `json:"partitions"`
	Keys        float64           `json:"keys"` // that have events in the state
	KeyBytes    float64           `json:"key_bytes"`
	Events      float64           `json:"events_kept"`
	Memory      float64           `json:"memory_bytes"`
	Disk        float64           `json:"disk_bytes"`
	Streams     []StreamBudget    `json:"streams"`
	Changelog   ChangelogBudget   `json:"changelog"`
	Repartition RepartitionBudget `json:"repartition"`
	Restore     Restore           `json:"restore"`
}

// StreamBudget is what the events of a stream take in the state of a key.
type StreamBudget struct {
	Stream      string  `json:"stream"`
	Rate        float64 `json:"events_per_second"`
	Kept        float64 `json:"kept_seconds"`         // by the rules, with the lateness
	Stays       float64 `json:"stays_seconds"`        // on the average, until it is visited
	Events      float64 `json:"events_kept"`          //
	Row         float64 `json:"row_bytes"`            // encoded
	Memory      float64 `json:"memory_bytes_per_row"` // with its part of what the key takes
	Disk        float64 `json:"disk_bytes_per_row"`
	Changelog   float64 `json:"changelog_bytes_per_record"`
	Repartition float64 `json:"repartition_bytes_per_record"` // 0: read directly
}

// ChangelogBudget is what a changelog takes, before compression, which saves little among random ids.
type ChangelogBudget struct {
	Records  float64 `json:"records"`             // that a restore reads
	Bytes    float64 `json:"bytes"`               // of them: trimmed and compacted
	Raw      float64 `json:"bytes_not_compacted"` // with every record of how far the table had come
	PerDay   float64 `json:"bytes_per_day"`       // written; what it grows by where it is not trimmed
	Segments float64 `json:"bytes_of_segments"`   // that stay at most because Kafka deletes whole segments
}

// RepartitionBudget is what a repartition topic takes; nothing where streams are read directly.
type RepartitionBudget struct {
	PerDay float64 `json:"bytes_per_day"`
	Bytes  float64 `json:"bytes"` // behind what is committed, between two trims
}

// Restore is what it takes to read all of the state.
type Restore struct {
	Records  float64 `json:"records"`
	ToMemory float64 `json:"memory_cpu_seconds"`
	ToDisk   float64 `json:"disk_cpu_seconds"`
}

// NewBudget reckons the state of a plan. Every stream that a key uses must have a rate.
func NewBudget(plan *rules.Plan, t *Traffic, o BudgetOptions) (*Budget, error) {
	b := &Budget{Keys: []KeyBudget{}}
	for i, k := range plan.Keys {
		one, err := budgetOf(plan, k, t, &t.Keys[i], o)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", k.Name, err)
		}
		b.Keys = append(b.Keys, *one)
		b.Memory += one.Memory
		b.Disk += one.Disk
		b.Changelog += one.Changelog.Bytes
		b.Restore.add(&one.Restore)
	}
	b.Process = b.Memory*processFactor + emptyProcess*float64(o.Instances)
	b.suggest(plan, o)
	return b, nil
}

func (r *Restore) add(o *Restore) {
	r.Records += o.Records
	r.ToMemory += o.ToMemory
	r.ToDisk += o.ToDisk
}

func budgetOf(plan *rules.Plan, k *rules.Key, t *Traffic, keys *KeyTraffic, o BudgetOptions) (*KeyBudget, error) {
	m, err := modelState(plan, k, t, keys)
	if err != nil {
		return nil, err
	}
	s := &plan.Settings
	b := &KeyBudget{Key: k.Name, Direct: k.Direct, Partitions: int(s.Partitions), Keys: m.keys, KeyBytes: keys.Bytes, Memory: m.bytes, Streams: []StreamBudget{}}
	partitions := float64(s.Partitions)
	rate, longest, payload := 0.0, 0.0, 0.0
	for _, rank := range k.Streams {
		if r := t.Streams[rank].Rate; r > 0 {
			rate += r
			longest = max(longest, float64(k.Retention[rank]+k.Lateness)/1e6)
		}
		b.Events += m.rows[rank]
		payload += m.rows[rank] * t.Streams[rank].Row
	}
	commits := 1 / s.CommitInterval.Seconds()
	// A partition's records of one commit are a batch.
	beside := kafkaRecord + kafkaBatch/max(1, rate/partitions/commits)
	for _, rank := range k.Streams {
		from := t.Streams[rank]
		d := StreamBudget{
			Stream: plan.Streams[rank].Name, Rate: from.Rate, Row: from.Row, Events: m.rows[rank], Kept: float64(k.Retention[rank]+k.Lateness) / 1e6,
		}
		if from.Rate > 0 {
			d.Stays = d.Events / from.Rate
			entry := entryKeyBytes(keys.Bytes, from.ID) + 1 + from.Row
			d.Disk = entry * diskFactor
			d.Changelog = entry + beside
			if !k.Direct {
				d.Repartition = shuffleHead + keys.Bytes + from.Row + beside
			}
		}
		if payload > 0 {
			d.Memory = m.bytes * from.Row / payload
		}
		b.Disk += d.Events * d.Disk
		b.Changelog.Records += from.Rate * longest
		b.Changelog.Bytes += from.Rate * longest * d.Changelog
		b.Changelog.PerDay += from.Rate * secondsPerDay * d.Changelog
		b.Repartition.PerDay += from.Rate * secondsPerDay * d.Repartition
		b.Repartition.Bytes += from.Rate * trimSeconds * d.Repartition
		b.Streams = append(b.Streams, d)
	}
	b.Disk += partitions * storeLogs(plan, s.Partitions)
	metas := commits * partitions * float64(metaBytes(plan, k)+kafkaRecord)
	if rate < commits*partitions {
		metas = rate * float64(metaBytes(plan, k)+kafkaRecord)
	}
	b.Changelog.Raw = b.Changelog.Bytes + metas*longest
	b.Changelog.PerDay += metas * secondsPerDay
	b.Changelog.Segments = partitions * kafkaSegment
	b.Restore = Restore{b.Changelog.Records, b.Changelog.Records / o.ToMemory, b.Changelog.Records / o.ToDisk}
	return b, nil
}

// StateGrowth is how much more state there is under other rules, in events and bytes.
type StateGrowth struct {
	Events    float64 `json:"events_kept"`
	Memory    float64 `json:"memory_bytes"`
	Disk      float64 `json:"disk_bytes"`
	Changelog float64 `json:"changelog_bytes"`
}

// muchMore is from which growth on memory is modelled anew: longer histories may be indexed, and take another size per row. What is less
// would be lost in the model's chances.
const muchMore = 0.1

// Growth returns how much more state the budget's traffic makes under a plan that keeps the same for longer.
func (b *Budget) Growth(plan *rules.Plan, t *Traffic) (g StateGrowth, err error) {
	for i, k := range plan.Keys {
		have, longest, records := &b.Keys[i], 0.0, 0.0
		events, memory := 0.0, 0.0
		rows := newTableModel(plan, k, t, &t.Keys[i]).rows(&t.Keys[i])
		for j, rank := range k.Streams {
			s := &have.Streams[j]
			more := rows[rank] - s.Events
			events += more
			memory += more * s.Memory
			g.Disk += more * s.Disk
			if s.Rate > 0 {
				longest = max(longest, float64(k.Retention[rank]+k.Lateness)/1e6)
			}
			records += s.Rate * s.Changelog
		}
		if events > muchMore*have.Events {
			m, err := modelState(plan, k, t, &t.Keys[i])
			if err != nil {
				return g, fmt.Errorf("key %s: %w", k.Name, err)
			}
			memory = m.bytes - have.Memory
		}
		g.Events += events
		g.Memory += memory
		g.Changelog += records*longest - have.Changelog.Bytes
	}
	return g, nil
}

// storeLogs is what the logs of a store take, of so many partitions of a key.
func storeLogs(plan *rules.Plan, partitions int32) float64 {
	m := memory{writes: writesOf(&plan.Settings, len(plan.Keys))}
	return logFactor * float64(m.writeShare(partitions))
}

// entryKeyBytes is the length of the changelog key of an event: a length, the key, the stream, the id.
func entryKeyBytes(key, id float64) float64 {
	length := 1.0
	if key >= 128 {
		length = 2
	}
	return length + key + 1 + id
}

// metaBytes is the length of a table's meta record, about: watermark, count, layout, and the sources of its inputs.
func metaBytes(plan *rules.Plan, k *rules.Key) int {
	const fixed, source = 30, 12
	sources := len(k.Streams)
	if !k.Direct {
		sources *= int(plan.Settings.Partitions)
	}
	return fixed + len(shapeOf(plan, k).Layout) + source*sources
}

// roundUp returns the next multiple of a step.
func roundUp(v, step float64) float64 { return math.Ceil(v/step) * step }
