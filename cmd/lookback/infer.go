package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/internal/infer"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

type inferFlags struct {
	topic, name string
	samples     int
	run         runSettings
}

// maxSamples bounds what a draft is made from, which is kept in memory.
const maxSamples = 100_000

func newInfer() *cobra.Command {
	var f inferFlags
	c := &cobra.Command{
		Use:   "infer [FILE]",
		Short: "Draft a stream of rules.yaml from a topic or a file of records",
		Long: `Draft an entry of streams: for rules.yaml from samples: the fields with their types, the event time, the id, candidates for keys, and how
far out of order events come. Comments say what was seen in how many records, and what is a guess. It is printed, for you to read and
to put into a rules file; check then says what is still missing.

With --topic it looks at the latest records of a topic, and changes nothing. With a file it looks at the first ones: one JSON record per
line or, as replay reads them, {"click": {"click_id": "c1", ...}}, which gives an entry for each stream. "-" is standard input, and files
whose names end in .gz are unpacked. Beside a file, --topic is the topic that the draft names.`,
		Example: "  lookback infer --topic ads.clicks --brokers kafka:9092\n" +
			"  lookback infer clicks.jsonl --topic ads.clicks\n" +
			"  lookback infer events.jsonl.gz --samples 10000",
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(c, args); err != nil {
				return err
			}
			if len(args) > 0 {
				return inferFile(c, f, args[0])
			}
			return inferTopic(c, f)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.topic, "topic", "", "topic to look at; beside a file: the topic of its records")
	fs.StringVar(&f.name, "name", "", "name of the stream (default: by the topic's or the file's)")
	fs.IntVar(&f.samples, "samples", 1000, "how many records of each stream to look at")
	fs.String(brokersOverride.flag, "", "brokers of the topic, host:port,... (env "+brokersOverride.env+"; default localhost:9092)")
	f.run.logFlags(fs)
	return c
}

// brokersOverride is that of the brokers, for commands without a rules file.
var brokersOverride = overrides[slices.IndexFunc(overrides, func(o override) bool { return o.flag == "brokers" })]

// check refuses what cannot be meant.
func (f *inferFlags) check(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0 && f.topic == "":
		return usagef("infer: from what? Give --topic TOPIC or a file of records")
	case len(args) > 0 && c.Flags().Changed(brokersOverride.flag):
		return usagef("--brokers: a file is read, not a topic")
	case f.topic != "" && !rules.IsTopic(f.topic):
		return usagef("--topic %q: a topic is up to 249 letters, digits, '.', '_' and '-'", f.topic)
	case f.samples < 1 || f.samples > maxSamples:
		return usagef("--samples %d: use 1 to %d", f.samples, maxSamples)
	}
	if f.name != "" {
		if fault := rules.NameFault(f.name); fault != "" {
			return usagef("--name: %s", fault)
		}
	}
	return nil
}

// inferTopic drafts from what a topic holds.
func inferTopic(c *cobra.Command, f inferFlags) error {
	settings := rules.Settings{Brokers: []string{"localhost:9092"}}
	if err := applyOverrides(c, &settings, brokersOverride); err != nil {
		return err
	}
	log, err := f.run.logger(c.ErrOrStderr())
	if err != nil {
		return err
	}
	records, partitions, err := processors.Sample(c.Context(), settings, processors.Config{Logger: log}, f.topic, f.samples)
	var missing *processors.NoTopicError
	switch {
	case errors.As(err, &missing):
		return fmt.Errorf("%w%s", err, nearTopics(missing))
	case err != nil:
		return err
	case len(records) == 0:
		return fmt.Errorf("topic %s has no records: nothing can be inferred", f.topic)
	}
	s := &infer.Stream{Name: cmp.Or(f.name, streamName(f.topic)), Topic: f.topic, Partitions: partitions}
	for i := range records {
		r := &records[i]
		s.Records = append(s.Records, infer.Record{Value: r.Value, Key: r.Key, Partition: r.Origin.Partition, Timestamp: r.Origin.Timestamp,
			Place: fmt.Sprintf("%s/%d/%d", f.topic, r.Origin.Partition, r.Origin.Offset)})
	}
	what := fmt.Sprintf("topic %s, the latest of %d partitions", f.topic, partitions)
	return infer.Draft(c.OutOrStdout(), what, []*infer.Stream{s})
}

// nearTopics names topics that may have been meant.
func nearTopics(e *processors.NoTopicError) string {
	const most = 10
	foreign := slices.DeleteFunc(slices.Clone(e.Topics), func(name string) bool { return strings.HasPrefix(name, "__") })
	if near := rules.Suggestion(e.Topic, foreign); near != "" {
		return near
	}
	part := slices.DeleteFunc(slices.Clone(foreign), func(name string) bool {
		return !strings.Contains(strings.ToLower(name), strings.ToLower(e.Topic))
	})
	switch list := part; {
	case len(foreign) == 0:
		return ": there is none"
	case len(list) == 0 && len(foreign) > most:
		return fmt.Sprintf("; there are %d others", len(foreign))
	case len(list) == 0:
		return "; there are " + strings.Join(foreign, ", ")
	default:
		return "; there are " + strings.Join(list[:min(len(list), most)], ", ")
	}
}

// streamName guesses a stream's name from that of its topic or file: ads.clicks holds what expressions call click.
func streamName(of string) string {
	name := of[strings.LastIndexByte(of, '.')+1:]
	name = strings.Trim(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' {
			return c
		}
		return '_'
	}, name), "_")
	switch {
	case strings.HasSuffix(name, "ies") && len(name) > 4:
		name = strings.TrimSuffix(name, "ies") + "y"
	case strings.HasSuffix(name, "s") && len(name) > 3 && !strings.HasSuffix(name, "ss") && !strings.HasSuffix(name, "us") && !strings.HasSuffix(name, "is"):
		name = strings.TrimSuffix(name, "s")
	}
	if rules.NameFault(name) != "" {
		name = "stream_" + name
	}
	return name
}

// inferFile drafts from the lines of a file.
func inferFile(c *cobra.Command, f inferFlags, file string) error {
	s := fileSamples{most: f.samples, named: map[string]*infer.Stream{}}
	var read atomic.Int64
	err := eachLine(c.Context(), file, c.InOrStdin(), &read, func(line []byte, number int64) error { return s.line(file, line, number) })
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	what := file
	if what == "-" {
		what = "standard input"
	}
	switch {
	case s.lines == 0:
		return fmt.Errorf("%s has no records: nothing can be inferred", what)
	case !s.enveloped() && 2*s.objects < s.lines:
		return fmt.Errorf("%s: %d of %d lines are no JSON objects: %w%s", what, s.lines-s.objects, s.lines, s.problem, s.hint())
	}
	streams := s.streams
	if s.enveloped() {
		switch {
		case f.name != "":
			return usagef("--name: the lines of %s name their streams", what)
		case f.topic != "" && len(streams) > 1:
			return usagef("--topic: the lines of %s are of %d streams", what, len(streams))
		}
		streams[0].Topic = f.topic
	} else {
		name := "event"
		if file != "-" {
			name, _, _ = strings.Cut(filepath.Base(file), ".")
			name = streamName(name)
		}
		if f.topic != "" {
			name = streamName(f.topic)
		}
		s.plain.Name, s.plain.Topic = cmp.Or(f.name, name), f.topic
		streams = []*infer.Stream{&s.plain}
	}
	return infer.Draft(c.OutOrStdout(), what, streams)
}

// fileSamples are the first records of a file, read in both ways: as plain records, and as lines that name their stream.
type fileSamples struct {
	most    int
	lines   int // that are not empty
	objects int // of these, JSON objects
	split   int // of these, such that name a stream
	problem error
	first   []byte // the first line that is no JSON object

	plain   infer.Stream
	named   map[string]*infer.Stream
	streams []*infer.Stream // of named, in the order in which they came
}

// errEnough ends the reading of a file early.
var errEnough = errors.New("there are enough samples")

// line takes one line of the file.
func (s *fileSamples) line(file string, line []byte, number int64) error {
	const patience = 100 // times as many lines are read for streams that are rare
	line = bytes.TrimSpace(bytes.Clone(line))
	s.lines++
	place := fmt.Sprintf("%s:%d", file, number)
	if len(s.plain.Records) < s.most {
		s.plain.Records = append(s.plain.Records, infer.Record{Value: line, Place: place})
	}
	if name, record, ts, err := codecs.SplitLine(line); err == nil && (record == nil || record[0] == '{') {
		s.split++
		s.objects++
		stream := s.named[name]
		if stream == nil && rules.NameFault(name) == "" {
			stream = &infer.Stream{Name: name}
			s.named[name] = stream
			s.streams = append(s.streams, stream)
		}
		if stream != nil && len(stream.Records) < s.most {
			stream.Records = append(stream.Records, infer.Record{Value: record, Timestamp: ts, Place: place})
		}
	} else if _, _, err := infer.Members(line); err == nil {
		s.objects++
	} else if s.problem == nil {
		s.problem, s.first = fmt.Errorf("%s: %w", place, err), line
	}
	full := len(s.plain.Records) == s.most
	for _, stream := range s.streams {
		full = full && (!s.enveloped() || len(stream.Records) == s.most)
	}
	if full || s.lines >= patience*s.most {
		return errEnough
	}
	return nil
}

// enveloped tells whether most lines name a stream.
func (s *fileSamples) enveloped() bool { return 2*s.split > s.lines && len(s.streams) > 0 }

// hint says what to do about a file of which no line is a record.
func (s *fileSamples) hint() string {
	switch {
	case s.first[0] == '[':
		return "\n  a file has one record per line; jq -c '.[]' makes that of a list"
	case s.first[0] == '{':
		return "\n  a file has one record per line; jq -c . makes that of records over several lines"
	}
	return ""
}
