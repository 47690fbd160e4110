package processors

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// ProcessorStats is what one processor says of itself: its membership, its partitions, its commits. It is safe for
// concurrent use. Its methods lock, so they are called per commit or more rarely, never per record.
type ProcessorStats struct {
	name    string
	commits Latency // of the commits that succeeded

	mu         sync.Mutex
	phase      Phase
	cause      error // why the last session failed; nil once another is at work
	generation int32
	partitions map[int32]*PartitionSnapshot
	positions  map[topicPartition]position
	received   map[string]int64
	aborts     map[string]int64
	sessions   map[string]int64
	standbys   map[int32]StandbySnapshot
}

type topicPartition struct {
	topic     string
	partition int32
}

// position is how far a claim is: the offset that is committed next, and the end of the partition as last fetched.
type position struct{ next, highWatermark int64 }

// Phase is how far a processor has come.
type Phase int

const (
	Connecting Phase = iota // it has no connection yet
	Joining                 // it waits for the group to give it partitions
	Joined                  // its partitions are in service or on their way there
)

// PartitionSnapshot is the state of one assigned partition.
type PartitionSnapshot struct {
	Partition int32
	Serving   bool

	// Changelog records that have to be loaded before it is in service, and how many of them are still to come.
	RestoreTotal, RestoreRemaining int64
	Stalled                        error // why its restore does not advance; nil: it does

	HasState  bool  // the following are known
	Keys      int   // in memory
	Bytes     int64 // in memory
	DiskBytes int64 // 0 where the table is in memory alone
	Watermark int64 // event time in microseconds; math.MinInt64 before the first
}

// LagSnapshot is how far a processor is behind one partition of an input.
type LagSnapshot struct {
	Topic     string
	Partition int32
	Records   int64
}

// ProcessorSnapshot is what a ProcessorStats knows at one moment. It belongs to the caller, but for CommitTime, which
// goes on counting.
type ProcessorSnapshot struct {
	Name       string
	Phase      Phase
	Cause      error // of the last session's failure; nil: none since a session was last in service
	Generation int32
	Partitions []PartitionSnapshot // assigned ones, ascending
	Lags       []LagSnapshot       // by topic and partition
	Received   map[string]int64    // committed records, by topic
	Aborts     map[string]int64    // by class of cause
	Sessions   map[string]int64    // that have ended, by "clean" or class of cause
	CommitTime *Latency            // of commits that succeeded
	Standbys   []StandbySnapshot   // ascending
}

// StandbySnapshot is how far the copy of a table is that another instance has in service.
type StandbySnapshot struct {
	Partition int32
	Position  int64 // changelog offset that is loaded next
	Behind    int64 // changelog offsets that are still to come, of which some are no records
}

func newProcessorStats(name string) *ProcessorStats {
	return &ProcessorStats{
		name:       name,
		partitions: map[int32]*PartitionSnapshot{},
		positions:  map[topicPartition]position{},
		received:   map[string]int64{},
		aborts:     map[string]int64{},
		sessions:   map[string]int64{},
		standbys:   map[int32]StandbySnapshot{},
	}
}

// joining says that the processor asks its group for partitions. It has none until joined.
func (p *ProcessorStats) joining() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase = Joining
	clear(p.partitions)
	clear(p.positions)
}

// joined says that a session begins, with these partitions, none of which is in service yet.
func (p *ProcessorStats) joined(generation int32, partitions []int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.generation = Joined, generation
	clear(p.partitions)
	clear(p.positions)
	for _, n := range partitions {
		p.partitions[n] = &PartitionSnapshot{Partition: n}
	}
	p.recovered()
}

// ended says that a session has ended, or could not begin; a nil cause is a rebalance, or the processor's own end.
func (p *ProcessorStats) ended(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.phase, p.cause = Joining, cause
	clear(p.partitions)
	clear(p.positions)
	p.sessions[classOf(cause)]++
}

// commit counts a commit that succeeded and had something to commit.
func (p *ProcessorStats) commit(took time.Duration) { p.commits.Observe(took) }

// abort counts a commit that failed.
func (p *ProcessorStats) abort(cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.aborts[classOf(cause)]++
}

// restoring says how many changelog records of a partition are still to be loaded, of how many in all.
func (p *ProcessorStats) restoring(partition int32, remaining, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.partitions[partition]; at != nil {
		at.Serving, at.Stalled = false, nil
		at.RestoreRemaining, at.RestoreTotal = remaining, total
	}
}

// stalled says why the restore of a partition failed, until it goes on.
func (p *ProcessorStats) stalled(partition int32, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.partitions[partition]; at != nil {
		at.Stalled = cause
	}
}

// serving says that a partition is in service.
func (p *ProcessorStats) serving(partition int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.partitions[partition]; at != nil {
		at.Serving, at.Stalled, at.RestoreRemaining = true, nil, 0
	}
	p.recovered()
}

// recovered forgets the last failure once everything is in service again.
func (p *ProcessorStats) recovered() {
	for _, at := range p.partitions {
		if !at.Serving {
			return
		}
	}
	p.cause = nil
}

// position says which offset of an input is read next, and where the partition ends. Before the first fetch one of them is
// not known, and the end not beyond what was read.
func (p *ProcessorStats) position(topic string, partition int32, next, highWatermark int64) {
	if next < 0 || highWatermark < next {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.partitions[partition] != nil {
		p.positions[topicPartition{topic, partition}] = position{next, highWatermark}
	}
}

// state says what a partition's table holds, in memory and on the disk, and its watermark in microseconds of event time.
func (p *ProcessorStats) state(partition int32, keys int, bytes, disk, watermark int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := p.partitions[partition]; at != nil {
		at.HasState, at.Keys, at.Bytes, at.DiskBytes, at.Watermark = true, keys, bytes, disk, watermark
	}
}

// handled counts n records of an input whose effects are committed.
func (p *ProcessorStats) handled(topic string, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.received[topic] += n
}

// snapshot returns what is known now.
func (p *ProcessorStats) snapshot() ProcessorSnapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := ProcessorSnapshot{
		Name:       p.name,
		Phase:      p.phase,
		Cause:      p.cause,
		Generation: p.generation,
		Received:   maps.Clone(p.received),
		Aborts:     maps.Clone(p.aborts),
		Sessions:   maps.Clone(p.sessions),
		CommitTime: &p.commits,
	}
	for _, number := range slices.Sorted(maps.Keys(p.partitions)) {
		n.Partitions = append(n.Partitions, *p.partitions[number])
	}
	for _, number := range slices.Sorted(maps.Keys(p.standbys)) {
		n.Standbys = append(n.Standbys, p.standbys[number])
	}
	for at, has := range p.positions {
		n.Lags = append(n.Lags, LagSnapshot{at.topic, at.partition, max(has.highWatermark-has.next, 0)})
	}
	slices.SortFunc(n.Lags, func(a, b LagSnapshot) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return n
}

// restore returns the sums of RestoreTotal and RestoreRemaining.
func (p *ProcessorStats) restore() (total, remaining int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.partitions {
		total, remaining = total+at.RestoreTotal, remaining+at.RestoreRemaining
	}
	return total, remaining
}

// standby says how far the copy of a partition's table is, and where its changelog ends.
func (p *ProcessorStats) standby(partition int32, position, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.standbys[partition] = StandbySnapshot{partition, position, max(end-position, 0)}
}

// noStandby says that there is no copy of a partition's table any more.
func (p *ProcessorStats) noStandby(partition int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.standbys, partition)
}
