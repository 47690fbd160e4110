package processors

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seed-2058fbc3/lookback/codecs"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// campaignSpec is a dimension table from the topic campaigns.
var campaignSpec = tables.DimensionSpec{Name: "campaign", Columns: []codecs.Field{{Name: "id", Type: codecs.String}, {Name: "name", Type: codecs.String}}}

// loadCampaigns loads that table, which must not fail then or later.
func (r *rig) loadCampaigns() []*tables.Dimension {
	r.t.Helper()
	plan := &rules.Plan{Tables: []*rules.Table{{Name: campaignSpec.Name, Topic: "campaigns", Columns: campaignSpec.Columns}}}
	dims, err := loadDimensions(r.t.Context(), plan, func() (sarama.Client, error) {
		return sarama.NewClient(r.cluster.ListenAddrs(), testConfig())
	}, func(err error) { r.t.Error(err) }, r.log)
	if err != nil {
		r.t.Fatal(err)
	}
	return dims
}

// putCampaign writes a row, or a tombstone.
func (r *rig) putCampaign(key, value string) {
	r.t.Helper()
	record := codecs.Record{Topic: "campaigns", Partition: -1, Key: []byte(key), Timestamp: time.Now().UnixMicro()}
	if value != "" {
		record.Value = []byte(value)
	}
	r.write(record)
}

func TestDimensionTopicIsReadToItsEndAndFollowed(t *testing.T) {
	r := newRigWith(t, "campaigns")
	put := r.putCampaign
	put("c1", `{"id":"c1","name":"one"}`)
	put("c2", `{"id":"c2","name":"two"}`)
	put("c3", `not json`)
	dims := r.loadCampaigns()
	name := func(id string) string { return dims[0].Get(codecs.StringValue(id), 1, 0).Str }
	if name("c1") != "one" || name("c2") != "two" || name("c3") != "" {
		t.Errorf("after loading: %q %q %q", name("c1"), name("c2"), name("c3"))
	}
	put("c1", `{"id":"c1","name":"uno"}`)
	put("c2", "")
	r.eventually("the change is seen", func() bool { return name("c1") == "uno" && name("c2") == "" })
}

// A broker that has nothing to say for a while does not make a table count as read.
func TestDimensionTopicIsReadToItsEndThoughTheBrokerHesitates(t *testing.T) {
	r := newRigWith(t, "campaigns")
	for i := range 3 * testPartitions {
		r.putCampaign(fmt.Sprint("c", i), fmt.Sprintf(`{"id":"c%d"}`, i))
	}
	var first time.Time
	r.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		const hesitation = 2 * time.Second
		if now := time.Now(); first.IsZero() {
			first = now
		} else if now.Sub(first) > hesitation {
			return nil, nil, false
		}
		r.cluster.KeepControl()
		return nothingFetched(req), nil, true
	})
	if got := r.loadCampaigns()[0].Len(); got != 3*testPartitions {
		t.Errorf("%d rows when the table counts as loaded, want %d", got, 3*testPartitions)
	}
}

// A topic that was made anew is read from its start, beside what the old one has said.
func TestDimensionTopicMadeAnew(t *testing.T) {
	r := newRigWith(t, "campaigns")
	for i := range 3 * testPartitions {
		r.putCampaign(fmt.Sprint("c", i), fmt.Sprintf(`{"id":"c%d"}`, i))
	}
	dims := r.loadCampaigns()
	admin := r.admin()
	if err := admin.DeleteTopic("campaigns"); err != nil {
		t.Fatal(err)
	}
	r.createTopic(admin, "campaigns", testPartitions, nil)
	r.putCampaign("new", `{"id":"new","name":"one"}`)
	r.eventually("the new topic is read", func() bool { return dims[0].Get(codecs.StringValue("new"), 1, 0).Str == "one" })
	if got := dims[0].Len(); got != 3*testPartitions+1 {
		t.Errorf("%d rows, want those of both topics, %d", got, 3*testPartitions+1)
	}
}

// A topic that is deleted, and stays away, is an error that names it.
func TestDimensionTopicDeleted(t *testing.T) {
	r := newRigWith(t, "campaigns")
	r.putCampaign("c1", `{"id":"c1"}`)
	client, err := sarama.NewClient(r.cluster.ListenAddrs(), testConfig())
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, testPartitions)
	f := &follower{
		topic: "campaigns", table: tables.NewDimension(campaignSpec), client: client, log: r.log,
		fail: func(err error) { failed <- err }, missing: missing{patience: time.Nanosecond},
	}
	if err := f.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.admin().DeleteTopic("campaigns"); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !isFatal(err) || !strings.Contains(err.Error(), "topic campaigns has not been there") {
		t.Errorf("got %v, want an error that ends the process and names the topic", err)
	}
}

// What another row has replaced is forgotten a week later by the topic's own timestamps, in whichever partition that is told.
func TestSupersededRowsAreForgottenAfterAWeek(t *testing.T) {
	r := newRigWith(t, "campaigns")
	at := time.Now().Add(-365 * 24 * time.Hour)
	put := func(key, name string, after time.Duration) {
		r.write(codecs.Record{Topic: "campaigns", Partition: -1, Key: []byte(key), Value: fmt.Appendf(nil, `{"name":%q}`, name), Timestamp: at.Add(after).UnixMicro()})
	}
	put("c1", "one", 0)
	put("c1", "uno", time.Hour)
	dims := r.loadCampaigns()
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
