package processors

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
)

func TestDimensionTopicIsReadToItsEndAndFollowed(t *testing.T) {
	r := newRigWith(t, "campaigns")
	put := func(key, value string) {
		record := codecs.Record{Topic: "campaigns", Partition: -1, Key: []byte(key), Timestamp: time.Now().UnixMicro()}
		if value != "" {
			record.Value = []byte(value)
		}
		r.write(record)
	}
	put("c1", `{"id":"c1","name":"one"}`)
	put("c2", `{"id":"c2","name":"two"}`)
	put("c3", `not json`)
	plan := &rules.Plan{Tables: []*rules.Table{{
		Name: "campaign", Topic: "campaigns",
		Columns: []codecs.Field{{Name: "id", Type: codecs.String}, {Name: "name", Type: codecs.String}},
	}}}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dims, err := loadDimensions(ctx, plan, func() (sarama.Client, error) {
		return sarama.NewClient(r.cluster.ListenAddrs(), testConfig())
	}, r.log)
	if err != nil {
		t.Fatal(err)
	}
	name := func(id string) string { return dims[0].Get(codecs.StringValue(id), 1, 0).Str }
	if name("c1") != "one" || name("c2") != "two" || name("c3") != "" {
		t.Errorf("after loading: %q %q %q", name("c1"), name("c2"), name("c3"))
	}
	put("c1", `{"id":"c1","name":"uno"}`)
	put("c2", "")
	r.eventually("the change is seen", func() bool { return name("c1") == "uno" && name("c2") == "" })
}

// What another row has replaced is forgotten a week later by the topic's own timestamps, in whichever partition that is told.
func TestSupersededRowsAreForgottenAfterAWeek(t *testing.T) {
	r := newRigWith(t, "campaigns")
	at := time.Now().Add(-365 * 24 * time.Hour)
	put := func(key, name string, after time.Duration) {
		r.write(codecs.Record{Topic: "campaigns", Partition: -1, Key: []byte(key), Value: fmt.Appendf(nil, `{"name":%q}`, name), Timestamp: at.Add(after).UnixMicro()})
	}
	plan := &rules.Plan{Tables: []*rules.Table{{
		Name: "campaign", Topic: "campaigns",
		Columns: []codecs.Field{{Name: "id", Type: codecs.String}, {Name: "name", Type: codecs.String}},
	}}}
	put("c1", "one", 0)
	put("c1", "uno", time.Hour)
	dims, err := loadDimensions(t.Context(), plan, func() (sarama.Client, error) {
		return sarama.NewClient(r.cluster.ListenAddrs(), testConfig())
	}, r.log)
	if err != nil {
		t.Fatal(err)
	}
	first := func(id string) string { return dims[0].Get(codecs.StringValue(id), 1, at.UnixMicro()).Str }
	latest := func(id string) string { return dims[0].Get(codecs.StringValue(id), 1, 0).Str }
	for i := range 3 * testPartitions { // some in every partition
		id := fmt.Sprint("n", i)
		put(id, id, versionRetention)
		r.eventually("the row is read", func() bool { return latest(id) == id })
	}
	if got := first("c1"); got != "one" {
		t.Errorf("a week less an hour after the change the row of before is %q, want one", got)
	}
	put("n0", "last", versionRetention+time.Hour)
	r.eventually("the row of before is forgotten", func() bool { return first("c1") == "uno" })
	if latest("c1") != "uno" || latest("n0") != "last" {
		t.Errorf("the present rows are %q and %q", latest("c1"), latest("n0"))
	}

	// Records from the future do not make it forget what is recent. When the second has been read, the first is done with.
	recent := time.Since(at) - 2*time.Hour
	put("c2", "old", recent)
	put("c2", "new", recent+time.Hour)
	r.eventually("the row is read", func() bool { return latest("c2") == "new" })
	put("n1", "future", 100*365*24*time.Hour)
	put("n1", "further", 101*365*24*time.Hour)
	r.eventually("the rows are read", func() bool { return latest("n1") == "further" })
	if got := first("c2"); got != "old" {
		t.Errorf("after a record from the future the row of two hours ago is %q, want old", got)
	}
}
