package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/seed-2058fbc3/lookback/processors"
)

// readiness is the answer to /readyz.
type readiness struct {
	Ready      bool                 `json:"ready"`
	Reasons    []string             `json:"reasons"` // why not, apart from the processors
	Processors []processorReadiness `json:"processors"`
}

type processorReadiness struct {
	Name     string   `json:"name"`
	Ready    bool     `json:"ready"`
	Assigned int      `json:"assigned_partitions"`
	Serving  int      `json:"serving_partitions"`
	Reasons  []string `json:"reasons"`
}

// readinessOf judges a snapshot. An instance without any partition is ready: it has done all that was asked of it.
func readinessOf(s processors.Snapshot) readiness {
	r := readiness{Ready: true, Reasons: []string{}, Processors: []processorReadiness{}}
	if s.Stage != "" {
		r.Ready = false
		r.Reasons = append(r.Reasons, s.Stage)
	}
	for _, p := range s.Processors {
		one := readinessOfProcessor(p)
		r.Ready = r.Ready && one.Ready
		r.Processors = append(r.Processors, one)
	}
	return r
}

func readinessOfProcessor(p processors.ProcessorSnapshot) processorReadiness {
	r := processorReadiness{Name: p.Name, Assigned: len(p.Partitions), Reasons: []string{}}
	why := func(format string, args ...any) { r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...)) }
	switch p.Phase {
	case processors.Connecting:
		why("connecting")
	case processors.Joining:
		why("joining group")
	}
	for _, part := range p.Partitions {
		switch {
		case part.Serving:
			r.Serving++
		case part.Stalled != nil:
			why("restoring partition %d: trying again: %v", part.Partition, part.Stalled)
		case part.RestoreRemaining > 0:
			why("restoring partition %d: %d of %d records left", part.Partition, part.RestoreRemaining, part.RestoreTotal)
		case part.RestoreTotal > 0:
			why("restoring partition %d: all of %d records read, writing the table", part.Partition, part.RestoreTotal)
		default:
			why("opening partition %d", part.Partition)
		}
	}
	r.Ready = len(r.Reasons) == 0
	if p.Cause != nil && !r.Ready {
		why("session failed: %v", p.Cause)
	}
	return r
}

func writeReadiness(w http.ResponseWriter, r readiness) {
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !r.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(body, '\n')) // who has hung up meanwhile cannot be told
}
