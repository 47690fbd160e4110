package processors

import (
	"errors"
	"strings"
	"testing"

	"github.com/IBM/sarama"
)

func (r *rig) admin() sarama.ClusterAdmin {
	r.t.Helper()
	admin, err := sarama.NewClusterAdminFromClient(r.connect())
	if err != nil {
		r.t.Fatal(err)
	}
	return admin
}

func (r *rig) createTopic(admin sarama.ClusterAdmin, name string, partitions int32, settings map[string]string) {
	r.t.Helper()
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: map[string]*string{}}
	for k, v := range settings {
		detail.ConfigEntries[k] = &v
	}
	if err := admin.CreateTopic(name, detail, false); err != nil {
		r.t.Fatal(err)
	}
}

func TestPrepareCreatesWhatIsMissing(t *testing.T) {
	r := newRigWith(t, "i", "c", "e")
	admin := r.admin()
	plan := runRules(t, r, "", "1h", "")
	plan.Settings.Partitions = 5
	counts, err := Prepare(plan, admin)
	if err != nil {
		t.Fatal(err)
	}
	for topic, policy := range map[string]string{
		"ads.u-repartition": "delete", "ads.u-table": "compact,delete", "out": "compact",
		"out.deltas": "delete", "ads.late": "delete", "ads.rejected": "delete",
	} {
		if counts[topic] != 5 {
			t.Errorf("topic %s has %d partitions, want 5", topic, counts[topic])
		}
		settings, err := topicSettings(admin, topic)
		if err != nil {
			t.Fatal(err)
		}
		if got := settings["cleanup.policy"]; got != policy {
			t.Errorf("topic %s has cleanup.policy=%s, want %s", topic, got, policy)
		}
	}
	if _, err := Prepare(plan, admin); err != nil {
		t.Errorf("what Prepare created does not pass it: %v", err)
	}
}

func TestPrepareGivesTheChangelogThePartitionsOfItsInput(t *testing.T) {
	r := newRigWith(t, "i", "c", "e")
	plan := runRules(t, r, "", "1h", ", partitioned_by: u")
	plan.Settings.Partitions = 9
	counts, err := Prepare(plan, r.admin())
	if err != nil {
		t.Fatal(err)
	}
	if counts["ads.u-table"] != testPartitions || counts["ads.u-repartition"] != 0 {
		t.Errorf("partitions: %v", counts)
	}
}

func TestPrepareNamesEveryMismatchAtOnce(t *testing.T) {
	r := newRigWith(t, "i")
	admin := r.admin()
	r.createTopic(admin, "c", 4, map[string]string{"cleanup.policy": "compact"})
	r.createTopic(admin, "ads.u-table", 7, map[string]string{"cleanup.policy": "delete"})
	r.createTopic(admin, "out", 2, map[string]string{"cleanup.policy": "delete"})
	r.createTopic(admin, "out.deltas", 2, map[string]string{"cleanup.policy": "compact"})
	r.createTopic(admin, "ads.late", 2, map[string]string{"max.message.bytes": "1000"})
	_, err := Prepare(runRules(t, r, "", "1h", ", partitioned_by: u"), admin)
	var mismatches Mismatches
	if !errors.As(err, &mismatches) {
		t.Fatalf("Prepare returned %v, want mismatches", err)
	}
	for _, want := range []string{
		"topic e does not exist; create it: ",
		"topic c is compacted",
		"topic ads.u-table is not compacted",
		"topic ads.u-table holds state and deletes it",
		"topic ads.u-table has 7 partitions, but the inputs of key u have 3",
		"topic out is not compacted",
		"topic out.deltas is compacted",
		"topic ads.late takes records of at most 1000 bytes",
		"i has 3, c has 4",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no mention of %q in:\n%v", want, err)
		}
	}
	if counts, err := countPartitions(admin, []Topic{{Name: "ads.rejected"}}); err != nil || len(counts) > 0 {
		t.Errorf("topics were created although others do not fit: %v %v", counts, err)
	}
}
