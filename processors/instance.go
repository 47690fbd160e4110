package processors

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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
