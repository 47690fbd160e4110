package producer_test

import (
	"context"
	"testing"

	"github.com/IBM/sarama"

	"github.com/seed-2058fbc3/lookback/internal/kafkatest"
	"github.com/seed-2058fbc3/lookback/processors/producer"
)

func TestTransactions(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic, group := createTopic(t, addrs, 1, nil), kafkatest.Name("group")
		p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{TransactionalID: kafkatest.Name("txn"), Tracked: topic})

		commit(t, p, producer.Offsets{}) // nothing
		if err := p.Abort(patient(t)); err != nil {
			t.Fatal(err)
		}

		p.Add(record(topic, 0, "records and offsets"))
		if p.Empty() || p.Usable() {
			t.Error("empty with a record pending")
		}
		commit(t, p, positions(group, topic, 1))
		p.Add(record(topic, 0, "records only"))
		commit(t, p, producer.Offsets{})
		commit(t, p, positions(group, topic, 2)) // offsets only
		if at, meta := committed(t, addrs, group, topic); at != 2 || meta != "m" {
			t.Errorf("got offset %d and metadata %q, want 2 and \"m\"", at, meta)
		}

		p.Add(record(topic, 0, "aborted before it was sent"))
		if err := p.Abort(patient(t)); err != nil || !p.Usable() {
			t.Fatalf("abort: %v", err)
		}
		for range 2 { // twice: the second transaction must not disturb the numbers of the first
			p.Add(record(topic, 0, "aborted after it was sent"))
			if err := p.Flush(patient(t)); err != nil {
				t.Fatal(err)
			}
			if p.Empty() || p.Usable() {
				t.Error("empty with a transaction open")
			}
			p.Add(record(topic, 0, "aborted with it"))
			if err := p.Abort(patient(t)); err != nil || !p.Usable() {
				t.Fatalf("abort: %v", err)
			}
		}

		p.Add(record(topic, 0, "last"))
		commit(t, p, positions(group, topic, 3))
		got := read(t, addrs, topic, 0)
		if d := difference(values(got), []string{"records and offsets", "records only", "last"}); d != "" {
			t.Error(d)
		}
		if next, _ := p.Acked(0); next != got[len(got)-1].Offset+1 {
			t.Errorf("acknowledged up to %d, want %d", next, got[len(got)-1].Offset+1)
		}
	})
}

func TestResetAbortsWhatIsOpen(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic, group := createTopic(t, addrs, 1, nil), kafkatest.Name("group")
		p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{TransactionalID: kafkatest.Name("txn"), Tracked: topic})
		for range 3 {
			p.Add(record(topic, 0, "aborted"))
			if err := p.Flush(patient(t)); err != nil {
				t.Fatal(err)
			}
			reset(t, p)
			if _, ok := p.Acked(0); ok {
				t.Error("an aborted record is acknowledged")
			}
		}
		p.Add(record(topic, 0, "committed"))
		commit(t, p, positions(group, topic, 1))
		if d := difference(values(read(t, addrs, topic, 0)), []string{"committed"}); d != "" {
			t.Error(d)
		}
	})
}

func TestTheSecondProducerFencesTheFirst(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		topic, group := createTopic(t, addrs, 2, nil), kafkatest.Name("group")
		cfg := producer.Config{TransactionalID: kafkatest.Name("txn")}
		client := newClient(t, addrs, clientConfig())
		for _, when := range []string{"before the transaction", "with a transaction open", "before offsets only"} {
			first := newProducer(t, client, cfg)
			first.Add(record(topic, 0, "before"))
			commit(t, first, producer.Offsets{})
			switch when {
			case "before the transaction":
				first.Add(record(topic, 0, "zombie"))
			case "with a transaction open":
				first.Add(record(topic, 0, "zombie"))
				if err := first.Flush(patient(t)); err != nil {
					t.Fatal(err)
				}
				first.Add(record(topic, 0, "zombie"))
				first.Add(record(topic, 1, "zombie"))
			}
			second := newProducer(t, client, cfg)
			second.Add(record(topic, 0, "second"))
			commit(t, second, positions(group, topic, 5))

			mustBe(t, first.Commit(patient(t), positions(group, topic, 6)), producer.ErrFenced)
			if at, _ := committed(t, addrs, group, topic); at != 5 {
				t.Errorf("%s: got offset %d, want 5", when, at)
			}
			reset(t, first)
			first.Add(record(topic, 0, "taken back"))
			commit(t, first, producer.Offsets{})
			second.Add(record(topic, 0, "zombie"))
			mustBe(t, second.Commit(patient(t), producer.Offsets{}), producer.ErrFenced)
		}
		want := []string{"before", "second", "taken back"}
		want = append(append(want, want...), want...)
		if d := difference(values(read(t, addrs, topic, 0)), want); d != "" {
			t.Error(d)
		}
		if d := difference(values(read(t, addrs, topic, 1)), nil); d != "" {
			t.Error(d)
		}
	})
}

// member runs f as the member of a group that it joins.
type member func(session sarama.ConsumerGroupSession)

func (member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (member) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (m member) ConsumeClaim(session sarama.ConsumerGroupSession, _ sarama.ConsumerGroupClaim) error {
	m(session)
	return nil
}

func TestOnlyTheGroupsMembersCommit(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, addrs []string) {
		for _, instance := range []string{"", "instance-1"} {
			topic, out, name := createTopic(t, addrs, 1, nil), createTopic(t, addrs, 1, nil), kafkatest.Name("group")
			p := newProducer(t, newClient(t, addrs, clientConfig()), producer.Config{TransactionalID: kafkatest.Name("txn")})
			config := clientConfig()
			config.Consumer.Group.InstanceId = instance
			group, err := sarama.NewConsumerGroup(addrs, name, config)
			if err != nil {
				t.Fatal(err)
			}
			defer group.Close()
			ctx, leave := context.WithCancel(patient(t))
			err = group.Consume(ctx, []string{topic}, member(func(session sarama.ConsumerGroupSession) {
				defer leave()
				valid := positions(name, topic, 7)
				valid.Member, valid.Generation, valid.Instance = session.MemberID(), session.GenerationID(), instance
				try := func(o producer.Offsets, want error) {
					p.Add(record(out, 0, "refused"))
					if err := p.Commit(ctx, o); err == nil {
						t.Errorf("committed %+v", o)
					} else {
						mustBe(t, err, want)
					}
					reset(t, p)
				}
				old := valid
				old.Generation--
				old.Positions = positions(name, topic, 8).Positions
				try(old, sarama.ErrIllegalGeneration)
				stranger := valid
				stranger.Member = "somebody"
				if instance != "" {
					try(stranger, sarama.ErrFencedInstancedId)
				} else {
					try(stranger, sarama.ErrUnknownMemberId)
				}
				p.Add(record(out, 0, "accepted"))
				commit(t, p, valid)
			}))
			if err != nil {
				t.Fatal(err)
			}
			if at, _ := committed(t, addrs, name, topic); at != 7 {
				t.Errorf("got offset %d, want 7", at)
			}
			if d := difference(values(read(t, addrs, out, 0)), []string{"accepted"}); d != "" {
				t.Error(d)
			}
		}
	})
}
