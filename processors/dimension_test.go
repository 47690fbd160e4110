package processors

import (
	"context"
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
