package processors

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/seed-2058fbc3/lookback/processors/producer"
	"github.com/seed-2058fbc3/lookback/rules"
	"github.com/seed-2058fbc3/lookback/tables"
)

// instanceName returns what this instance's transactional ids end with: the instance id of the settings; without one, a name
// that the state folder keeps, because the folder belongs to one instance; without a folder, a name for this run.
func instanceName(s rules.Settings, app string) (string, error) {
	if s.InstanceID != "" {
		return s.InstanceID, nil
	}
	if s.Store != "disk" {
		return newInstanceName(), nil
	}
	dir := filepath.Join(s.StateDir, app)
	file := filepath.Join(dir, "instance")
	kept, err := os.ReadFile(file)
	if name := strings.TrimSpace(string(kept)); err == nil && rules.InstanceName.MatchString(name) {
		return name, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", &tables.FolderError{Dir: dir, Cause: err}
	}
	name := newInstanceName()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", &tables.FolderError{Dir: dir, Cause: err}
	}
	if err := os.WriteFile(file, []byte(name+"\n"), 0o600); err != nil {
		return "", &tables.FolderError{Dir: dir, Cause: err}
	}
	return name, nil
}

func newInstanceName() string { return strings.ToLower(rand.Text()[:12]) }

// transactionalID returns the id of the transactions of an instance as a member of a group.
func transactionalID(group, instance string) string { return group + "." + instance }

// settleTimeout bounds what a rebalance waits for the transactions of those who left.
const settleTimeout = 2 * time.Second

// settle ends the transactions that instances which have left the group may have open, and returns those where that failed.
// Their time-out would end them too, but until then nobody could take up their partitions. Whoever is out of the group can
// commit nothing any more, so nothing is taken from them; one that lives takes its id back when it joins again.
func (p *processor) settle(ctx context.Context, gone []string) (left []string) {
	// The leader sends no heartbeats meanwhile.
	ctx, cancel := context.WithTimeout(ctx, min(settleTimeout, p.config.Consumer.Group.Session.Timeout/3))
	defer cancel()
	errs := make([]error, len(gone))
	var all sync.WaitGroup
	for i, instance := range gone {
		all.Go(func() {
			taker := producer.New(p.client, producer.Config{
				TransactionalID: transactionalID(p.name, instance), TransactionTimeout: transactionTimeout, Logger: p.log,
			})
			defer taker.Close()
			errs[i] = taker.Reset(ctx)
		})
	}
	all.Wait()
	for i, instance := range gone {
		if errs[i] != nil {
			left = append(left, instance)
			p.log.Warn("transactions of an instance that left could not be ended", "group", p.name, "instance_id", instance, "error", errs[i])
		} else {
			p.log.Info("transactions of an instance that left are ended", "group", p.name, "instance_id", instance)
		}
	}
	return left
}
