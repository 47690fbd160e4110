package rules

import (
	"time"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// Plan is a rules file, compiled: everything that the processors need, with names resolved to ranks and slots. It is
// immutable and shared; what evaluation changes lives in a Scope.
type Plan struct {
	App      string
	Hash     string // of the normalised rules file, without comments and settings
	Settings Settings
	Streams  []*Stream // by rank: the order in `streams:`, which breaks ties of time
	Tables   []*Table
	Keys     []*Key // rules that share a key share its history
	Rules    []*Rule

	env     envLayout
	natives int // the most that a native condition reads
}

// Settings are what the rules file says about running, each of which a flag or an environment variable may override.
type Settings struct {
	Brokers           []string
	Delivery          string // ExactlyOnce or AtLeastOnce
	CommitInterval    time.Duration
	CommitRecords     int           // a commit comes early, once this many records have been handled since the last one
	InstanceID        string        // stable name of the instance: static group membership, and its transactions'; "": none is given
	SessionTimeout    time.Duration // after which a member that does not answer loses its partitions
	WatermarkInterval time.Duration
	IdleTimeout       time.Duration
	SkipOlderThan     time.Duration // records whose Kafka timestamp is as far behind the clock when they are read are late, unread; 0: none
	Partitions        int32         // of topics that Lookback creates
	Replication       int16
	Store             string // "memory" or "disk"
	StateDir          string
	CacheBytes        int64  // decoded histories that a disk store keeps in memory, per partition; 0: by MaxMemory
	MaxMemory         int64  // what the process may take, about; caches and queues are sized by it; 0: not said
	Standby           int    // copies of each partition's table that other instances keep warm
	HTTPAddr          string // of health, metrics; "": no server
	HTTPToken         string // bearer token that requests must carry; "": none
	Pprof             bool   // profiles over HTTP
}

// The kinds of delivery.
const (
	ExactlyOnce = "exactly_once"
	AtLeastOnce = "at_least_once"
)

// Stream is one input. Durations are in microseconds, as all event time is.
type Stream struct {
	Name          string
	Rank          int
	Topic         string
	Declared      []codecs.Field // as in `fields:`, in order
	Slots         []Slot         // what a decoded Event's Fields hold
	Kept          int            // the first Kept slots stay in the state; the others are read by `where`, `key` and look-ups only
	Time          int            // index into Declared of the event time
	ID            int            // index into Declared of the id
	Where         *Expr          // nil: every record
	MaxAge        int64          // 0: any age
	MaxSkew       int64          // how far ahead of the record's Kafka timestamp event time may be
	Lateness      int64
	Disorder      int64
	Version       int // slot of the int by which a later version of an event is known; NoSlot: events have none
	Late          LatePolicy
	From          int      // slot with the time from which conversions may have an event that was accepted late; NoSlot where Late is another
	PartitionedBy []string // nil: unknown, so it is repartitioned
}

// LatePolicy is what becomes of events that come later than the stream's lateness allows.
type LatePolicy uint8

// The policies.
const (
	LateReject LatePolicy = iota // they go to the late topic
	LateKept                     // they are accepted while they would be kept, for conversions that are not final; the late topic is told
	LateDrop                     // they are counted, and no more
)

var latePolicies = []string{LateReject: "reject", LateKept: "accept_while_kept", LateDrop: "drop"}

// String returns the policy as rules files have it.
func (p LatePolicy) String() string { return latePolicies[p] }

// NoSlot is no slot.
const NoSlot = -3

// Slot says where the value of a decoded event's field comes from: a declared field, or a table's row that is looked up
// when the event enters (and stamped on it, so that credit stays a function of events).
type Slot struct {
	Field int // index into Declared; -1 for a stamp, and for Stream.From
	Stamp *Stamp
}

// Stamp is a look-up in a table: the column of the row whose key is the value in another slot of the same event.
type Stamp struct {
	Table  int // index into Plan.Tables
	Column int // index into Table.Columns
	Key    int // slot, or codecs.SlotID
}

// SlotName names a slot of a stream as expressions do: stream.field, or table[stream.field].column.
func (p *Plan) SlotName(stream, slot int) string {
	s := p.Streams[stream]
	switch slot {
	case codecs.SlotID:
		return s.Name + "." + s.Declared[s.ID].Name
	case codecs.SlotTime:
		return s.Name + "." + s.Declared[s.Time].Name
	}
	if stamp := s.Slots[slot].Stamp; stamp != nil {
		t := p.Tables[stamp.Table]
		return t.Name + "[" + p.SlotName(stream, stamp.Key) + "]." + t.Columns[stamp.Column].Name
	}
	if slot == s.From {
		return s.Name + ", accepted from"
	}
	return s.Name + "." + s.Declared[s.Slots[slot].Field].Name
}

// Table is a dimension table. Exactly one of File and Topic is set.
type Table struct {
	Name    string
	File    string // absolute, or relative to the working directory; .csv, .jsonl or .ndjson
	Topic   string // compacted, JSON values, keyed by the text of the key column
	Key     int    // index into Columns
	Columns []codecs.Field
}

// Key is a set of rules with the same `key:`, which are served by one processor from one history per key.
type Key struct {
	Name       string   // the fields joined by "-", for names of groups and topics
	Fields     []string // field names, present with the same type in every stream of Streams
	Streams    []int    // ranks, ascending
	Slots      [][]int  // by rank: slots of the key fields (codecs.SlotID allowed); nil for streams of other keys
	Rules      []*Rule
	Paths      [][]Path // by rank: the look-ups that rules make, at least one per stream
	Corrected  []int64  // by rank: an event's other version is accepted while its time + Corrected >= W - Lateness
	Retention  []int64  // by rank: an event is of use while time + Retention >= W - Lateness
	Lateness   int64    // the largest of its streams'
	MaxTouches int      // events per key (conversions not counted) before the oldest without credit leave
	Direct     bool     // every stream is partitioned by this key or a prefix of it, so topics are read directly
}

// Path is an access path into the events of one stream and key: slots whose encoded values a look-up must equal.
// The empty Path is every event of the stream.
type Path []int

// Rule is an `attribute` rule.
type Rule struct {
	Name         string
	Hash         string   // of its normalised text
	Models       []*Model // at least one; each has rows of its own
	Across       bool     // models divide over the candidates of all classes, not of the best one
	Key          *Key
	Conversion   int // stream rank
	Classes      []*Class
	Select       []Column
	Measure      []Column
	Upserts      bool
	Deltas       bool
	Unattributed bool   // emit conversions without a candidate, as class "none"
	Into         string // topic of upserts; deltas go to Into + ".deltas"
	Instant      bool   // a touch at the conversion's instant is before it
	PerParent    PerParent
	Orphans      bool      // a touch that has no parent, though its join refers to one, counts without
	Priority     *Expr     // int or decimal: the largest wins, whatever its time; nil: time alone decides
	Require      *Expr     // condition on the winner; where it fails the conversion is unattributed; nil: none
	Counting     *Counting // which conversions count; nil: every one that finds a touch
	Takings      []*Taking // how events of its streams are taken back
	AdjustWithin int64     // how long after its target, or before it, an event takes it back
	Unused       []string  // names of `let` that nothing uses

	streams  []*Stream // of the plan
	alone    [][]*Expr // by stream rank: what a touch's join says that does not read its parent
	versions bool      // its events may have later versions

	shows  bool // a candidate's parent may be a candidate, too
	single bool // all that the models need is one winner per conversion

	// The rule as it was written, for evaluation by definition (see Naive); Classes' Vias are derived from it.
	EveryConversion int // access path of a rule with Counting: all conversions of the key

	Joins     []*Expr // by stream rank, the whole `join:` condition; nil where there is none
	Parents   []int   // by stream rank: the touch stream that its join refers to, or -1
	MaxGap    int64   // parent to touch
	MediaMath bool    // preset: mediamath
}

// PerParent says which of the touches of one parent, such as the clicks of an impression, are candidates.
type PerParent uint8

// The choices.
const (
	AllOfParent PerParent = iota
	LastOfParent
	FirstOfParent
)

var perParents = []string{AllOfParent: "all", LastOfParent: "last", FirstOfParent: "first"}

// String returns the choice as rules files have it.
func (p PerParent) String() string { return perParents[p] }

// Class is one rank of candidates. A (conversion, touch) pair belongs to the first class that it fits.
type Class struct {
	Name   string
	Min    int64 // lag from the anchor to the conversion, inclusive
	Within int64 // inclusive; of window_end: exclude, a microsecond less than is written
	// Own is the bound of a pair's lag in words, such as 14d, inclusive unless Before is set; Within bounds it. A null, or an empty
	// text, sets none, and a nil Own none for any pair.
	Own    *Expr
	Parent int64 // from the touch's parent to the conversion at most, likewise; 0: no such bound
	Where  *Expr // over conversion, touch and parent; nil: every pair
	// Expires is the time up to which the touch counts, by its own terms; a null sets no bound, and a nil Expires none for any touch.
	Expires *Expr
	Before  bool   // the conversion must come before that time, or end of its own window (window_end: exclude), not at it
	Touch   []int  // stream ranks, as written in `touch:`
	Anchor  int    // stream rank that lag is measured from, as written in `anchor:`; -1: the touch
	After   bool   // the touch may come after the conversion (click_after_conversion: allow)
	Vias    []*Via // one per touch stream, then those of touches without their parents
}

// Via is one way for a touch stream to reach a conversion: directly, or by way of a parent (a click by way of the
// impression that it was made on). A candidate of it is a Tuple whose times and equalities hold:
//
//	conversion[ConvTouch.A] == touch[ConvTouch.B]      for every pair
//	conversion[ConvParent.A] == parent[ConvParent.B]
//	touch[TouchParent.A] == parent[TouchParent.B]
//
// A null never equals anything. What a join says beyond equalities is in Residual.
type Via struct {
	Touch        int  // stream rank
	Parent       int  // stream rank, -1: none
	AnchorParent bool // lag and order are measured from the parent's time, not the touch's
	AllowAfter   bool // the touch may come after the conversion (the parent may not)
	AnyGap       bool // parent and touch may have the same time (they are joined by an equality)
	MaxGap       int64
	MaxParentLag int64 // conversion time - parent time at most; 0: no such bound
	Ahead        int64 // how long before the conversion its touch and parent are at least: 1, or 0 where its instant counts
	ConvTouch    []Pair
	ConvParent   []Pair
	TouchParent  []Pair
	Orphan       *Via    // not nil: the touch counts without a parent, and this, by way of one, must find none
	tie          []*Expr // of Residual, what the touch's join says of its parent
	late         bool    // touches or parents may have been accepted late
	Residual     []*Expr // over conversion, touch and parent; an absent field makes it false

	// Access paths, as indexes into Key.Paths[stream]; match bytes are built from the pairs in path order.
	ConvPath      int // conversions, by the A slots of ConvTouch and ConvParent
	TouchPath     int // touches of a conversion, by ConvTouch.B
	ParentPath    int // parents of a conversion, by ConvParent.B (AnchorParent only)
	TouchOfParent int // touches of a parent, by TouchParent.A
	ParentOfTouch int // parents of a touch, by TouchParent.B
	TouchOfBoth   int // touches of a conversion and a parent, by ConvTouch.B then TouchParent.A
	ParentOfBoth  int // parents of a conversion and a touch, by ConvParent.B then TouchParent.B
}

// Pair is an equality between a slot of one stream and a slot of another; both have the same type.
type Pair struct{ A, B int }

// Column is an output field.
type Column struct {
	Name string
	Expr *Expr
}
