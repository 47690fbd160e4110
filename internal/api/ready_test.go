package api

import (
	"errors"
	"slices"
	"testing"

	"github.com/seed-2058fbc3/lookback/processors"
)

func TestReadinessSaysWhatIsWaitedFor(t *testing.T) {
	type processor = processors.ProcessorSnapshot
	type partition = processors.PartitionSnapshot
	failure := errors.New("broken pipe")
	for name, test := range map[string]struct {
		processor processor
		reasons   []string
	}{
		"connecting":         {processor{}, []string{"connecting"}},
		"joining":            {processor{Phase: processors.Joining}, []string{"joining group"}},
		"without partitions": {processor{Phase: processors.Joined}, nil},
		"in service":         {processor{Phase: processors.Joined, Partitions: []partition{{Partition: 1, Serving: true}}}, nil},
		"restoring": {processor{Phase: processors.Joined, Partitions: []partition{
			{Partition: 0, Serving: true}, {Partition: 1}, {Partition: 3, RestoreTotal: 500, RestoreRemaining: 120}, {Partition: 4, RestoreTotal: 5, RestoreRemaining: 2, Stalled: failure}, {Partition: 5, RestoreTotal: 70},
		}}, []string{"opening partition 1", "restoring partition 3: 120 of 500 records left", "restoring partition 4: trying again: broken pipe",
			"restoring partition 5: all of 70 records read, writing the table"}},
		"failed":          {processor{Phase: processors.Joining, Cause: failure}, []string{"joining group", "session failed: broken pipe"}},
		"failed long ago": {processor{Phase: processors.Joined, Cause: failure}, nil},
	} {
		healthy := processor{Name: "healthy", Phase: processors.Joined}
		r := readinessOf(processors.Snapshot{Processors: []processor{healthy, test.processor}})
		if got := r.Processors[1]; r.Ready != (test.reasons == nil) || got.Ready != r.Ready || !slices.Equal(got.Reasons, test.reasons) {
			t.Errorf("%s: %+v", name, r)
		}
		if r = readinessOf(processors.Snapshot{Stage: "stopping", Processors: []processor{healthy}}); r.Ready || !slices.Equal(r.Reasons, []string{"stopping"}) {
			t.Errorf("stopping: %+v", r)
		}
	}
}

func TestAddressesThatNeedAToken(t *testing.T) {
	for addr, open := range map[string]bool{
		"127.0.0.1:1": false, "127.9.9.9:1": false, "[::1]:1": false, "localhost:1": false,
		"0.0.0.0:1": true, "[::]:1": true, "10.0.0.1:1": true, ":1": true, "host.example:1": true, "localhost.example:1": true,
	} {
		if err := Check(addr, ""); errors.Is(err, ErrOpen) != open {
			t.Errorf("%s without a token: %v", addr, err)
		}
		if err := Check(addr, "secret"); err != nil {
			t.Errorf("%s with a token: %v", addr, err)
		}
	}
	if Check("nowhere", "secret") == nil {
		t.Error("an address without a port passes")
	}
}
