package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// budgetFlags say what traffic a state budget is for.
type budgetFlags struct {
	rates, rows, keys []string
	keySize           float64
	sample            []string
	topics            bool
	records           int64
	tables            map[string]string
	instances         int
	memory            string
	restore           []string
	run               runSettings
}

// budgetFlagNames are the flags that need --budget; --table is for --lateness, too.
var budgetFlagNames = []string{"rate", "row", "keys", "key-size", "sample", "sample-topics", "sample-records", "instances", "memory", "restore-rate", "brokers"}

func (f *budgetFlags) flags(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.rates, "rate", nil, "with --budget: events of a stream, such as impression=20000/s; also /m, /h, /d")
	fs.StringSliceVar(&f.rows, "row", nil, "with --budget: bytes of a row of a stream in the state, such as impression=64 (default: sampled, or by the types of fields)")
	fs.StringSliceVar(&f.keys, "keys", nil, "with --budget: distinct keys among the events that are kept, such as 5e7 or user_id=5e7 (default: sampled)")
	fs.Float64Var(&f.keySize, "key-size", 0, "with --budget: bytes of a key in the state (default: sampled, or by the types of fields)")
	fs.StringSliceVar(&f.sample, "sample", nil, "with --budget: take from files of events what the other flags do not say")
	fs.BoolVar(&f.topics, "sample-topics", false, "with --budget: take it from the source topics")
	fs.Int64Var(&f.records, "sample-records", 100_000, "with --sample-topics: records that are read of each partition, the latest")
	fs.StringToStringVar(&f.tables, "table", nil, "with --sample or --lateness: read a table from a file: name=file.csv")
	fs.IntVar(&f.instances, "instances", 1, "with --budget: instances that share the work")
	fs.StringVar(&f.memory, "memory", "8GB", "with --budget: what an instance may take")
	fs.StringSliceVar(&f.restore, "restore-rate", nil, "with --budget: records restored per CPU-second, memory=N or disk=N (default: 530000 and 353000, as measured)")
	connectionFlags(fs, &f.run, "brokers")
}

// budgetAnswer is a budget and what it rests on.
type budgetAnswer struct {
	App       string `json:"app"`
	RulesHash string `json:"rules_hash"`
	*processors.Budget
	Assumed []string `json:"assumed"`
}

func explainBudget(c *cobra.Command, f *budgetFlags, plan *rules.Plan, format string) error {
	options, err := f.options()
	if err != nil {
		return err
	}
	a := &budgetAnswer{App: plan.App, RulesHash: plan.Hash}
	traffic, err := f.traffic(c, plan, a)
	if err != nil {
		return err
	}
	if a.Budget, err = processors.NewBudget(plan, traffic, options); err != nil {
		return err
	}
	a.assumeKeys(traffic)
	a.assumeRest(plan, options)
	if format == "json" {
		return writeIndented(c.OutOrStdout(), a)
	}
	return writeBudgetText(c.OutOrStdout(), a)
}

func (a *budgetAnswer) assume(format string, args ...any) {
	a.Assumed = append(a.Assumed, fmt.Sprintf(format, args...))
}

// assumeKeys says where the number of keys is not much more than a guess.
func (a *budgetAnswer) assumeKeys(t *processors.Traffic) {
	const little = 0.2
	for i, k := range t.Keys {
		sampled := 0.0
		for n, keys := range k.Counts {
			sampled += float64(n) * keys
		}
		if kept := a.Keys[i].Events; sampled > 0 && sampled < little*kept {
			a.assume("key %s: the sample has %.2g%% of the events that are kept, so how many keys there are is an extrapolation; give --keys where you know", a.Keys[i].Key, 100*sampled/kept)
		}
	}
}

func (a *budgetAnswer) assumeRest(plan *rules.Plan, o processors.BudgetOptions) {
	a.assume("a steady rate, day and night, over all that is kept: with half of it, half the state")
	a.assume("%d partitions of each topic (topics.partitions), commits every %s, and one copy of each topic: topics.replication is %d", plan.Settings.Partitions, plan.Settings.CommitInterval, plan.Settings.Replication)
	a.assume("topics before compression: lz4 saves little among random ids, and more among texts that repeat")
	a.assume("memory is modelled: some thousand made-up events of each kind of key live in a table as it is; a process takes 1.5 times its histories and 150 MB")
	a.assume("disk: 1.15 times the entries, and logs; while files are merged or a store is restored up to twice that, and 35 MB for each partition are laid out in advance")
	a.assume("restores of %s records per CPU-second into memory, %s onto the disk", grouped(int64(o.ToMemory)), grouped(int64(o.ToDisk)))
}

func (f *budgetFlags) options() (processors.BudgetOptions, error) {
	o := processors.DefaultBudgetOptions()
	if f.instances < 1 || f.instances > 10_000 {
		return o, usagef("--instances %d: use a number from 1 to 10000", f.instances)
	}
	o.Instances = f.instances
	var err error
	if o.Memory, err = rules.ParseSize(f.memory); err != nil || o.Memory < 1 {
		return o, usagef("--memory %s: use a size such as 8GB", f.memory)
	}
	for _, text := range f.restore {
		name, value, _ := strings.Cut(text, "=")
		to := map[string]*float64{"memory": &o.ToMemory, "disk": &o.ToDisk}[name]
		if to == nil {
			return o, usagef("--restore-rate %s: use memory=N or disk=N", text)
		}
		if *to, err = positive(value); err != nil {
			return o, usagef("--restore-rate %s: %w", text, err)
		}
	}
	if f.keySize < 0 || math.IsNaN(f.keySize) || f.keySize > tables.MaxKey {
		return o, usagef("--key-size %v: use a number of bytes from 1 to %d", f.keySize, tables.MaxKey)
	}
	if f.records < 1 {
		return o, usagef("--sample-records %d: use at least 1", f.records)
	}
	return o, nil
}

// positive reads a number above 0.
func positive(text string) (float64, error) {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n > 0) || n > 1e15 {
		return 0, fmt.Errorf("%q is not a number above 0", text)
	}
	return n, nil
}

// traffic takes the traffic from a sample, if there is one, and then from flags.
func (f *budgetFlags) traffic(c *cobra.Command, plan *rules.Plan, a *budgetAnswer) (*processors.Traffic, error) {
	declared := processors.DeclaredTraffic(plan)
	sampled, err := f.sampled(c, plan, a)
	if err != nil {
		return nil, err
	}
	t := declared
	if sampled != nil {
		t = *sampled
		for i := range t.Streams {
			if t.Streams[i].Row == 0 {
				t.Streams[i].Row, t.Streams[i].ID = declared.Streams[i].Row, declared.Streams[i].ID
			}
		}
	} else if len(f.rows) == 0 {
		a.assume("rows and keys by the types of their fields: a text as a UUID, 17 bytes")
	}
	given, err := streamNumbers(plan, "rate", f.rates, perSecond)
	if err != nil {
		return nil, err
	}
	rows, err := streamNumbers(plan, "row", f.rows, positive)
	if err != nil {
		return nil, err
	}
	for rank := range t.Streams {
		if n, ok := given[rank]; ok {
			t.Streams[rank].Rate = n
		}
		if n, ok := rows[rank]; ok {
			const least, most = 11, 1 << 20
			if n < least || n > most {
				return nil, usagef("--row %s=%v: a row takes from %d to %d bytes: stream, time, id and the fields that are kept", plan.Streams[rank].Name, n, least, most)
			}
			t.Streams[rank].Row = n
			t.Streams[rank].ID = min(t.Streams[rank].ID, n-9)
		}
	}
	if err := f.wantRates(plan, &t, given); err != nil {
		return nil, err
	}
	return &t, f.keyNumbers(plan, &t)
}

// wantRates checks that every stream that a key uses has a rate.
func (f *budgetFlags) wantRates(plan *rules.Plan, t *processors.Traffic, given map[int]float64) error {
	for _, k := range plan.Keys {
		for _, rank := range k.Streams {
			name := plan.Streams[rank].Name
			if _, ok := given[rank]; ok || t.Streams[rank].Rate > 0 {
				continue
			}
			if len(f.sample) > 0 || f.topics {
				return usagef("stream %q has no events in the sample: say its rate, such as --rate %s=100/s", name, name)
			}
			return usagef("stream %q has no rate: say it, such as --rate %s=100/s, or sample it with --sample EVENTS.jsonl or --sample-topics", name, name)
		}
	}
	return nil
}

// keyNumbers takes what flags say of keys.
func (f *budgetFlags) keyNumbers(plan *rules.Plan, t *processors.Traffic) error {
	for _, text := range f.keys {
		name, number, named := strings.Cut(text, "=")
		if !named {
			number = text
		}
		n, err := positive(number)
		if err != nil {
			return usagef("--keys %s: %w", text, err)
		}
		found := false
		for i, k := range plan.Keys {
			if !named || k.Name == name {
				t.Keys[i].Distinct, t.Keys[i].Counts, found = n, nil, true
			}
		}
		if !found {
			var names []string
			for _, k := range plan.Keys {
				names = append(names, k.Name)
			}
			return usagef("--keys %s: no such key; there are: %s", text, strings.Join(names, ", "))
		}
	}
	for i, k := range plan.Keys {
		if f.keySize > 0 {
			t.Keys[i].Bytes = f.keySize
		}
		if t.Keys[i].Distinct == 0 && len(t.Keys[i].Counts) == 0 {
			return usagef("key %s: say how many distinct keys there are, such as --keys 5e7, or sample them with --sample EVENTS.jsonl or --sample-topics", k.Name)
		}
	}
	return nil
}

// perSecond reads a rate.
func perSecond(text string) (float64, error) {
	units := map[string]float64{"s": 1, "m": 60, "h": 3600, "d": 86_400}
	number, unit, given := strings.Cut(text, "/")
	if !given {
		unit = "s"
	}
	if units[unit] == 0 {
		return 0, fmt.Errorf("%q: a rate is per /s, /m, /h or /d", text)
	}
	n, err := positive(number)
	return n / units[unit], err
}

// streamNumbers reads flags that say a number of a stream, by rank.
func streamNumbers(plan *rules.Plan, flag string, list []string, read func(string) (float64, error)) (map[int]float64, error) {
	numbers := map[int]float64{}
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		rank := slices.IndexFunc(plan.Streams, func(s *rules.Stream) bool { return s.Name == name })
		switch _, twice := numbers[rank]; {
		case !ok:
			return nil, usagef("--%s %s: write it as stream=number", flag, text)
		case rank < 0:
			var names []string
			for _, s := range plan.Streams {
				names = append(names, s.Name)
			}
			return nil, usagef("--%s %s: no stream %q in the rules; there are: %s", flag, text, name, strings.Join(names, ", "))
		case twice:
			return nil, usagef("--%s: stream %q is given twice", flag, name)
		}
		n, err := read(value)
		if err != nil {
			return nil, usagef("--%s %s: %w", flag, text, err)
		}
		numbers[rank] = n
	}
	return numbers, nil
}

// sampled samples what the flags ask for; nil: nothing.
func (f *budgetFlags) sampled(c *cobra.Command, plan *rules.Plan, a *budgetAnswer) (*processors.Traffic, error) {
	var sampler *processors.TrafficSampler
	switch {
	case f.topics && len(f.sample) > 0:
		return nil, usagef("--sample and --sample-topics: use one of them")
	case f.topics:
		if len(f.tables) > 0 {
			return nil, usagef("--table: tables of topics are read as the app reads them; it is for files")
		}
		bar := newProgress(c.ErrOrStderr())
		config, err := f.run.config(c, plan, bar)
		if err != nil {
			return nil, err
		}
		bar.begin("sampling", "records", 0)
		sampler, err = processors.SampleTopics(c.Context(), plan, config, f.records, bar.update)
		bar.end()
		if err != nil {
			return nil, err
		}
		a.assume("rates by the records that the topics have and their timestamps, less the share that is rejected; sizes and keys by the latest %s records of each partition", grouped(f.records))
	case len(f.sample) > 0:
		dims, err := openFileDimensions(plan, f.tables)
		if err != nil {
			return nil, err
		}
		sampler = processors.NewTrafficSampler(plan, dims)
		lines := newEventLines(plan, c.InOrStdin())
		lines.reject = func(*processors.Raw, *codecs.Reject) error { return nil }
		lines.record = func(stream int, raw *processors.Raw) error {
			_ = sampler.Record(stream, raw) // what is wrong with it counts for no event
			return nil
		}
		for _, file := range f.sample {
			if err := lines.file(c.Context(), file); err != nil {
				return nil, err
			}
		}
		if sampler.Seconds() == 0 {
			return nil, fmt.Errorf("%s: no events of the rules' streams in %d lines", strings.Join(f.sample, ", "), lines.lines)
		}
		a.assume("rates by event time: the sample covers %s", durationText(sampler.Seconds()))
	default:
		return nil, nil
	}
	if len(f.keys) == 0 {
		a.assume("keys by the sample: beyond it they grow in number as they do in it (Heaps' law), which is rather too many than too few")
	}
	t := sampler.Traffic()
	return &t, nil
}
