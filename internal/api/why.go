package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2058fbc3/lookback/internal/why"
	"github.com/seed-2058fbc3/lookback/processors"
	"github.com/seed-2058fbc3/lookback/rules"
)

// lookupPatience is how long a conversion is looked for.
const lookupPatience = time.Minute

// whyServer answers why a conversion has its credit.
type whyServer struct {
	plan    *rules.Plan
	lookups *processors.Lookups
	log     *slog.Logger
}

func (s *whyServer) serve(w http.ResponseWriter, r *http.Request) {
	q, limit, err := s.read(r.URL.Query())
	if err != nil {
		s.refuse(w, http.StatusBadRequest, err.Error(), nil)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), lookupPatience)
	defer cancel()
	found, err := s.lookups.Find(ctx, q)
	switch bad := (*processors.BadLookup)(nil); {
	case errors.As(err, &bad):
		s.refuse(w, http.StatusBadRequest, bad.Problem, nil)
	case errors.Is(err, processors.ErrBusy), err != nil && ctx.Err() != nil:
		w.Header().Set("Retry-After", "1")
		s.refuse(w, http.StatusServiceUnavailable, err.Error(), nil)
	case err != nil:
		s.log.Error("look-up failed", "error", err)
		s.refuse(w, http.StatusInternalServerError, err.Error(), nil)
	case len(found.Held) == 0:
		s.missing(w, q, found)
	default:
		answer := why.Found{App: s.plan.App, Rules: s.plan.Hash, Answers: why.OfState(s.plan, found)}
		for i := range answer.Answers {
			if limit > 0 {
				answer.Answers[i].Limit(limit)
			}
		}
		s.write(w, http.StatusOK, &answer)
	}
}

// read reads what is asked. Parameters that are none are refused.
func (s *whyServer) read(params url.Values) (q processors.Lookup, limit int, err error) {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		values := params[name]
		if len(values) > 1 {
			return q, 0, fmt.Errorf("%s is given %d times", name, len(values))
		}
		field := strings.TrimPrefix(name, "key.")
		switch {
		case name == "conversion":
			q.Conversion = values[0]
		case name == "rule":
			q.Rule = values[0]
		case name == "limit":
			if limit, err = strconv.Atoi(values[0]); err != nil || limit < 1 {
				return q, 0, fmt.Errorf("limit %q: use a number of at least 1", values[0])
			}
		case slices.ContainsFunc(s.plan.Keys, func(k *rules.Key) bool { return slices.Contains(k.Fields, field) }):
			if q.Key == nil {
				q.Key = map[string]string{}
			}
			if _, twice := q.Key[field]; twice {
				return q, 0, fmt.Errorf("%s is given twice", field)
			}
			q.Key[field] = values[0]
		default:
			return q, 0, fmt.Errorf("there is no parameter %q: use conversion, rule, limit and the fields of a key", name)
		}
	}
	if q.Conversion == "" {
		return q, 0, errors.New("conversion is missing: give its id, as /v1/why?conversion=ID")
	}
	return q, limit, nil
}

// missing says why a conversion was not found, and where to look for it.
func (s *whyServer) missing(w http.ResponseWriter, q processors.Lookup, found *processors.Findings) {
	places := why.PlacesOf(found.Places)
	var has, final []string
	code, reason := http.StatusNotFound, "not in the state of this instance"
	for i := range places {
		p := &found.Places[i]
		has = append(has, places[i].String())
		if places[i].FinalBefore != "" {
			final = append(final, places[i].FinalBefore)
		}
		switch {
		case p.Elsewhere():
			code, reason = http.StatusMisdirectedRequest, fmt.Sprintf("its key belongs to partition %d of key %s, which this instance does not serve", p.Wanted, p.Key.Name)
		case len(p.Restoring) > 0 && (p.Wanted < 0 || slices.Contains(p.Restoring, p.Wanted)):
			code, reason = http.StatusServiceUnavailable, "not found in the partitions that are in service"
			w.Header().Set("Retry-After", "5")
		case p.Unfinished && code == http.StatusNotFound:
			code, reason = http.StatusGatewayTimeout, fmt.Sprintf("not found within %s, in which not all histories could be searched", lookupPatience)
		}
	}
	text := fmt.Sprintf("conversion %q: %s: %s", q.Conversion, reason, strings.Join(has, "; "))
	switch code {
	case http.StatusGatewayTimeout:
		text += "; give the fields of its key"
	case http.StatusServiceUnavailable:
		text += "; try again when they are restored"
	case http.StatusMisdirectedRequest:
		text += "; ask the instance that serves it"
	default:
		if slices.ContainsFunc(found.Places, func(p processors.Place) bool { return int(p.Partitions) > len(p.Serves) && p.Wanted < 0 }) {
			text += "; ask the other instances, too"
		}
		if len(final) > 0 {
			text += fmt.Sprintf("; conversions of before %s are final and may have left the state", slices.Max(final))
		}
		text += "; `lookback why` on topics finds what is not in the state"
	}
	s.refuse(w, code, text, places)
}

func (s *whyServer) refuse(w http.ResponseWriter, code int, text string, places []why.Place) {
	s.write(w, code, &why.NotFound{Error: text, Places: places})
}

func (s *whyServer) write(w http.ResponseWriter, code int, answer any) {
	var body bytes.Buffer
	out := json.NewEncoder(&body)
	out.SetEscapeHTML(false)
	if err := out.Encode(answer); err != nil {
		s.log.Error("answer cannot be written", "error", err)
		writeJSON(w, http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written"}`+"\n"))
		return
	}
	writeJSON(w, code, body.Bytes())
}
