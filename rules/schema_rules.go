package rules

import (
	"slices"
	"strings"

	"github.com/seed-2058fbc3/lookback/codecs"
)

// RulesSchema describes rules files, for editors. What the compiler accepts it accepts; what refers to something else in the file, and
// expressions, it does not judge. A key that is added to a section here and in the compiler is all that a new key needs: tests hold one
// against the other.
func RulesSchema() *Schema {
	s := section("",
		required("app", matching("The prefix of consumer groups and of the topics that Lookback creates.", `[a-z][a-z0-9_-]{0,62}`,
			"An app is a lower-case letter, then up to 62 of a-z, 0-9, '_' and '-'.")),
		optional("kafka", kafkaSchema()),
		optional("delivery", choice("Exactly once: inputs, state and outputs of a commit interval are one transaction; at least once: after a crash upserts converge, and deltas may count twice.",
			[]string{ExactlyOnce, AtLeastOnce}).or(ExactlyOnce)),
		optional("commit_interval", lasting("How often outputs, state and offsets are committed, at most every 5s.").or("100ms")),
		optional("commit_records", counted("A commit comes early once so many records have been handled.", 1, 10_000_000).or(50_000)),
		optional("instance_id", matching("A lasting name of this instance, different for each: it then keeps its partitions over a restart within the session time-out.",
			`|[A-Za-z0-9][A-Za-z0-9._-]{0,99}`, "An instance is up to 100 of A-Z, a-z, 0-9, '.', '_' and '-'.", "integer")),
		optional("watermark_interval", lasting("How often watermarks go through repartition topics.").or("1s")),
		optional("idle_timeout", lasting("An input that has been read to its end for so long does not hold the watermark back.").or("10s")),
		optional("catch_up", section("What is left out after an outage, so that the present is served.",
			optional("skip_older_than", lasting("Records whose Kafka timestamp is further behind the clock when they are read go to the late topic unread; at least 1s.")),
		)),
		optional("topics", section("The topics that Lookback creates.",
			optional("partitions", counted("How many partitions they get; topics that exist are checked, never changed.", 1, 100_000).or(8)),
			optional("replication", counted("Their replication factor; use 3 where there are three brokers.", 1, 1000).or(1)),
		)),
		optional("state", stateSchema()),
		optional("http", section("Health, readiness and metrics.",
			optional("addr", matching("Where health and metrics are served; off: nowhere.", `|off|`+hostPattern, "An address is host:port, or off.").or(DefaultHTTPAddr)),
			optional("token", anyText("The bearer token that requests must carry, but those for health; required where the address is not on loopback.")),
			optional("pprof", yesOrNo("Whether profiles are served.").or(false)),
		)),
		required("streams", mapping("The input topics; the order of streams breaks ties between events of the same time.", declaredNames(), streamSchema())),
		optional("tables", mapping("Tables that are looked up by key when an event enters.", declaredNames(), tableSchema())),
		required("rules", list("Which touch gets the credit for a conversion.", ruleSchema())),
	)
	s.Draft, s.Title = schemaDraft, "Lookback rules"
	s.Description = "The streams that there are, and which touch gets the credit for a conversion."
	s.Properties.find("streams").MinProperties = 1
	s.Definitions = properties{optional("type", typeSchema())}
	return s
}

func kafkaSchema() *Schema {
	const what = "The brokers: host:port, a list of them, or a text with commas."
	one := matching("", hostPattern, "A broker is host:port.")
	several := matching("", ` *`+hostPattern+` *(?:, *`+hostPattern+` *)*`, "A broker is host:port.")
	brokers := &Schema{Description: what, AnyOf: []*Schema{several, list("", one)}}
	return section("The Kafka cluster.",
		optional("brokers", brokers.or("localhost:9092")),
		optional("session_timeout", lasting("How long an instance that does not answer keeps its partitions, at least 1s.").or("10s")),
	)
}

func stateSchema() *Schema {
	return section("Where the histories live.",
		optional("store", choice("Histories are kept in memory, or on disk where they outgrow it.", []string{"memory", "disk"}).or("memory")),
		optional("dir", filled("Where the disk store keeps its files.").or("state")),
		optional("cache", sized("The decoded histories that the disk store keeps in memory, per partition.").or("256MB")),
		optional("max_memory", sized("What the process may take, about: caches are sized by it instead of by cache.")),
		optional("standby", counted("How many other instances keep a warm copy of each partition's state.", 0, 10).or(0)),
		optional("max_touches", counted("Touches and parents kept per key; beyond it the oldest without credit leave and are counted.", 1, 10_000_000).or(10_000)),
	)
}

// fieldsSchema describes names and types of fields, which in streams may be lists, maps and records.
func fieldsSchema(description string, nested bool) *Schema {
	types := choice("", sortedKeys(fieldTypes))
	if nested {
		types = &Schema{AnyOf: []*Schema{types, {Ref: "#/definitions/type"}}}
	}
	s := mapping(description, plainNames(), types)
	s.MinProperties = 1
	return s
}

// typePattern is a list or a map that is written as a text.
func typePattern() string {
	single := "(?:" + strings.Join(sortedKeys(fieldTypes), "|") + ")"
	return `list<\s*` + single + `\s*>|map<\s*(?:string\s*,\s*)?` + single + `\s*>`
}

// typeSchema describes types of lists, maps and records.
func typeSchema() *Schema {
	hint := "Write a type like string, list<string> or map<decimal>; a record is a mapping of names to types, a list of records [{name: string}]."
	typ := &Schema{AnyOf: []*Schema{{Enum: texts(sortedKeys(fieldTypes))}, {Ref: "#/definitions/type"}}}
	record := mapping("A record: names and types of its fields.", plainNames(), typ)
	record.MinProperties, record.MaxProperties = 1, codecs.MaxMembers
	items := list("A list, with the type of its elements: single values or a record.", &Schema{AnyOf: []*Schema{{Enum: texts(sortedKeys(fieldTypes))}, record, anyVariable()}})
	items.MaxItems = 1
	return &Schema{AnyOf: []*Schema{matching("A list<TYPE> of single values, or a map<TYPE> from strings to them.", typePattern(), hint), record, items}}
}

func streamSchema() *Schema {
	return section("A stream: one input topic with JSON records.",
		required("topic", topicName("The topic; two streams, or a stream and an output, cannot share one.")),
		required("fields", fieldsSchema("Names and types of the fields; only those that something reads are decoded.", true)),
		required("time", nameOf("The field of type time that is the event time.")),
		required("id", nameOf("The string or int field that identifies an event within stream and key: the same id twice is one event.")),
		optional("where", expression("A condition over the stream's own fields by their bare names; a record that fails it is rejected as filtered.")),
		optional("max_age", lasting("A record whose event time is further behind its Kafka timestamp is rejected as over_age.")),
		optional("max_skew", lasting("A record whose event time is further ahead of its Kafka timestamp is rejected as future_time.").or("1h")),
		optional("lateness", lasting("An event is accepted while its time is at most this far behind the watermark; a later one goes to the late topic.").or(0)),
		optional("disorder", lasting("How far the stream's watermark stays behind its largest event time.").or(0)),
		optional("late", choice("What becomes of an event that comes later than that: it goes to the late topic; it is accepted for conversions that are not final, while it would be kept (of touches); or it is counted and dropped.",
			latePolicies).or("reject")),
		optional("partitioned_by", oneOrList("The fields by whose hash the topic is partitioned, in order.", nameOf(""))),
		optional("version", nameOf("The int field by which a later version of an event is known: of two records with one id the larger counts.")),
		optional("refund_of", refundSchema()),
		optional("invalidate", section("The stream's records take events of another stream out of the set of events.",
			required("stream", nameOf("The stream whose events are taken out.")),
			required("id", nameOf("The field with the id of the event that is taken out.")),
		)),
		optional("keep", choice("Keeps every declared field in the state, so that a rule added later finds it in the past.", []string{"all"})),
	)
}

func refundSchema() *Schema {
	return section("The stream's records take back conversions, in whole or in part.",
		optional("stream", nameOf("The stream of the conversions; without it, a record of this stream in which the id is present is a refund of another.")),
		required("id", nameOf("The field with the id of the conversion that is taken back.")),
		optional("value", nameOf("The field that says how much is taken back; all that is left where it is absent, or not given here.")),
		optional("of", nameOf("The field of the conversion that value is a part of; the same name by default.")),
	)
}

// countSchema describes which conversions of a touch or of a key count.
func countSchema() *Schema {
	key := section("One conversion per key.",
		required("one_per_key", lasting("A conversion that comes within that time after another of its key does not count.")))
	s := &Schema{Description: "Which conversions count: every one, the first of each touch, or one of a key."}
	s.AnyOf = []*Schema{{Enum: texts([]string{"every", "one_per_touch"})}, anyVariable(), key}
	return s.or("every")
}

func budgetSchema() *Schema {
	number := counted("", 1, maxBudget)
	own := expression("The touch's own: an int; absent is any number.")
	own.Type = "string"
	most := func() []*Schema { return []*Schema{number, own} }
	ends := oneOrList("", lasting(""))
	detailed := section("A budget with what may replace what.",
		required("max", &Schema{Description: "How many conversions may count per touch: a number, an expression over the touch, or a number by touch stream.",
			AnyOf: append(most(), mapping("", declaredNames(), number))}),
		optional("replace", expression("An int or a decimal: where the budget is used up a conversion takes the place of the one with the smallest.")),
		optional("windows", &Schema{Description: "When reporting windows end, after the touch; only conversions of one window replace each other. A list, or one by touch stream.",
			AnyOf: []*Schema{ends, mapping("", declaredNames(), ends)}}),
	)
	detailed.Dependencies = map[string]any{"windows": []string{"replace"}}
	return &Schema{Description: "How many conversions may count per touch.", AnyOf: append(most(), detailed)}
}

func tableSchema() *Schema {
	s := section("A table that is looked up by key when an event enters.",
		optional("file", matching("A .csv file with a header, or JSON lines (.jsonl, .ndjson), relative to the working directory.", `.*\.(?:csv|jsonl|ndjson)`, "A table is a .csv, .jsonl or .ndjson file.")),
		optional("topic", topicName("A compacted topic of JSON records, keyed by the text of the key column.")),
		required("key", nameOf("The column of type string, int or bool that identifies a row.")),
		required("fields", fieldsSchema("Names and types of the columns.", false)),
	)
	s.OneOf = []*Schema{{Required: []string{"file"}}, {Required: []string{"topic"}}}
	return s
}

func ruleSchema() *Schema {
	s := section("A rule: which touch gets the credit for a conversion.",
		required("name", matching("The rule's name, which is part of every row.", topicPattern, "A name is letters, digits, '.', '_' and '-'.", "integer")),
		required("attribute", nameOf("The stream of conversions.")),
		required("key", oneOrList("The fields that events must share to meet: events with the same key share a history, and nothing joins across keys.", nameOf(""))),
		required("lookback", lasting("The history that the rule has; no class can look further back.")),
		optional("max_gap", lasting("The longest time from a parent to its touch (from an impression to its click); the lookback where it is missing.")),
		optional("join", mapping("The conditions that touch streams' events must fulfil, by stream.", declaredNames(),
			expression("The condition that the stream's event must fulfil; it may read that stream, the conversion, and one other touch stream, its parent."))),
		required("classes", classesSchema()),
		optional("preset", choice("A scheme that is known by name: mediamath, in which the impression decides about a click.", []string{"mediamath"})),
		optional("click_after_conversion", choice("Whether a click may come after the conversion, as long as its impression does not; for classes whose lag is measured from the impression.", []string{"allow", "ignore"}).or("ignore")),
		optional("window_end", choice("Whether a lag of exactly within, or parent_within, fits.", []string{"include", "exclude"}).or("include")),
		optional("parent", choice("Whether a touch whose join refers to another touch stream, as a click to its impression, counts where there is no such event.", []string{"require", "allow"}).or("require")),
		optional("per_parent", choice("Which of the touches of one parent, such as the clicks of an impression, are candidates.", perParents).or("all")),
		optional("instant", choice("Whether a touch, or its parent, at the conversion's very instant is before it.", []string{"exclude", "include"}).or("exclude")),
		optional("priority", expression("An expression of type int or decimal: of the candidates the one with the largest wins, whatever its time.")),
		optional("require", expression("A condition on the winner; where it fails the conversion is unattributed.")),
		optional("count", countSchema()),
		optional("budget", budgetSchema()),
		optional("dedup", expression("A conversion does not count if another with the same value counts on its winner; an absent value is not compared.")),
		optional("retire", choice("Whether the touches that a conversion's winner beat are out for later conversions.", []string{"none", "losers"}).or("none")),
		optional("cap", section("Bounds what the conversions of a key have of a measure together.",
			required("measure", nameOf("The measure, which reads the conversion alone.")),
			required("at", matching("The most of it in a period, above 0.", `[0-9.eE+-]+`, "Write a number.", "number")),
			required("per", lasting("How long a period is; they are counted from 1970.")),
		)),
		optional("adjust_within", lasting("How long after, or before, an event another may take it back; the lookback where it is missing.")),
		optional("let", mapping("Names for expressions over a conversion and a touch, for use in the rule's other expressions.", declaredNames(), expression("What the name stands for; it may use the names above it."))),
		optional("model", modelsSchema()),
		optional("across", choice("What is divided among: the candidates of the first class that has any, or of all classes.", []string{"class", "all"}).or("class")),
		optional("select", mapping("The dimensions of a row: names and expressions.", plainNames(rowFields...), expression("A dimension of the row, which is null where a field that it reads is absent."))),
		optional("measure", mapping("Additive values of a row, signed in deltas: names and expressions.", plainNames(rowFields...), expression("A value of type int or decimal."))),
		optional("unattributed", choice("Whether conversions without a touch make rows of class none.", []string{"skip", "emit"}).or("skip")),
		optional("emit", choice("Upserts: the current row of each conversion, to the output topic; deltas: signed changes, to its name with .deltas.", []string{"both", "upserts", "deltas"}).or("both")),
		required("into", topicName("The output topic; it and its .deltas belong to one rule, and are no input.")),
	)
	return s
}

func classesSchema() *Schema {
	class := section("A class: the pairs of a conversion and a touch that fit it.",
		required("touch", oneOrList("A touch stream, or a list of them.", nameOf(""))),
		optional("within", &Schema{Description: "The longest lag from the anchor to the conversion, inclusive: a duration, or an expression whose text is one; the rule's lookback where it is missing.",
			AnyOf: []*Schema{lasting(""), matching("", `[^0-9.+$-][\s\S]*`, durationHint)}}),
		optional("min", lasting("The shortest lag from the anchor to the conversion, inclusive.").or(0)),
		optional("anchor", nameOf("The stream that lag is measured from: the touch itself, or its parent.")),
		optional("parent_within", lasting("The longest time from the touch's parent to the conversion, inclusive.")),
		optional("expires", expression("An expression of type time: the touch counts for conversions up to then, whatever within still allows.")),
		optional("where", expression("A condition over conversion, touch and parent, applied before the winner is chosen.")),
	)
	s := mapping("The classes in the order of their rank: a pair belongs to the first class that it fits, and the first class that has a pair wins.", plainNames(noClass), class)
	s.MinProperties = 1
	return s
}

// modelsSchema describes a model or a list of them.
func modelsSchema() *Schema {
	const decay, shape, weight = "Each touch has half as much as one that is this half-life later.",
		"30% each the first, the last and the first touch that meets the condition; 10% all others together.",
		"Each touch by its weight, an int or a decimal."
	parts := list("The parts of the first touch, of all between and of the last.", counted("", 0, 1_000_000))
	parts.MinItems, parts.MaxItems = 3, 3
	detailed := section("A model with what it needs.",
		optional(TimeDecay.String(), lasting(decay)),
		optional(Position.String(), parts),
		optional(WShaped.String(), expression(shape)),
		optional(Weights.String(), expression(weight)),
		optional("name", nameOf("The model's name in rows, which a second one of the same kind needs.")),
	)
	for _, p := range detailed.Properties[:len(detailed.Properties)-1] {
		detailed.OneOf = append(detailed.OneOf, &Schema{Required: []string{p.name}})
	}
	var bare []string // what can stand alone
	for kind, name := range modelNames {
		if modelNeeds[kind] == "" {
			bare = append(bare, name)
		}
	}
	one := []*Schema{{Enum: texts(bare)}, anyVariable(), detailed}
	s := &Schema{Description: "How credit is divided: one model, or a list of them, each of which makes rows of its own."}
	s.AnyOf = append(slices.Clone(one), list("", &Schema{AnyOf: one}))
	return s.or(Last.String())
}
