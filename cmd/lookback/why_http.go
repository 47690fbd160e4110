package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-2058fbc3/lookback/internal/why"
	"github.com/seed-2058fbc3/lookback/rules"
)

const (
	// whyTimeout is how long an instance may take to answer: longer than it searches.
	whyTimeout = 90 * time.Second
	// maxWhyBytes is how long an answer may be.
	maxWhyBytes = 256 << 20
)

// whyFromInstances asks running instances, all of them: two keys of the rules may lie in different ones.
func whyFromInstances(c *cobra.Command, f *whyFlags, plan *rules.Plan, id string, files []string) ([]why.Answer, error) {
	switch {
	case len(files) > 0:
		return nil, usagef("--http: an instance is asked, files are not read")
	case c.Flags().Changed("brokers"):
		return nil, usagef("--http: an instance is asked, topics are not read: leave --brokers out")
	case len(f.tables) > 0:
		return nil, usagef("--table: it is for files")
	case id == "":
		return nil, usagef("the conversion's id is empty")
	}
	if err := checkKeyFields(plan, f.key); err != nil {
		return nil, err
	}
	var asked []*url.URL
	for _, text := range f.instances {
		at, err := whyURL(text, id, f)
		if err != nil {
			return nil, err
		}
		asked = append(asked, at)
	}
	given, err := secret(httpTokenEnv)
	if err != nil {
		return nil, err
	}
	token := cmp.Or(f.token, given, plan.Settings.HTTPToken)
	var answers []why.Answer
	var failures, unasked []string // unasked: those who may have more
	for i, at := range asked {
		found, err := askInstance(c.Context(), at, token)
		if err != nil {
			if c.Context().Err() != nil {
				return nil, c.Context().Err()
			}
			failures = append(failures, fmt.Sprintf("%s: %v", f.instances[i], err))
			if not := (*notThere)(nil); !errors.As(err, &not) {
				unasked = append(unasked, failures[len(failures)-1])
			}
			continue
		}
		if found.App != plan.App || found.Rules != plan.Hash {
			fmt.Fprintf(c.ErrOrStderr(), "%s runs other rules than these: app %s, hash %s; these are of app %s, hash %s\n", f.instances[i], found.App, found.Rules, plan.App, plan.Hash)
		}
		answers = append(answers, found.Answers...)
	}
	if len(answers) == 0 {
		return nil, errors.New(strings.Join(failures, "\n  "))
	}
	for _, failure := range unasked {
		fmt.Fprintln(c.ErrOrStderr(), "there may be more than this: "+failure)
	}
	return answers, nil
}

// notThere says that an instance does not have a conversion.
type notThere struct{ reason string }

func (e *notThere) Error() string { return e.reason }

// checkKeyFields checks that the fields are those of a key.
func checkKeyFields(plan *rules.Plan, given map[string]string) error {
	if len(given) == 0 {
		return nil
	}
	var keys []string
	for _, k := range plan.Keys {
		if len(given) == len(k.Fields) && !slices.ContainsFunc(k.Fields, func(name string) bool { _, ok := given[name]; return !ok }) {
			return nil
		}
		keys = append(keys, strings.Join(k.Fields, ", "))
	}
	return usagef("--key: give all fields of one key: %s", strings.Join(keys, "; or "))
}

// whyURL is where an instance is asked.
func whyURL(text, id string, f *whyFlags) (*url.URL, error) {
	at, err := url.Parse(text)
	if err != nil || at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || at.RawQuery != "" || at.Fragment != "" {
		return nil, usagef("--http %q: an instance is http://host:port", text)
	}
	if at.User != nil {
		return nil, usagef("--http: a user has no place in the address: give the token with --token or %s", httpTokenEnv)
	}
	at = at.JoinPath("v1", "why")
	params := url.Values{"conversion": {id}}
	if f.rule != "" {
		params.Set("rule", f.rule)
	}
	for name, value := range f.key {
		params.Set("key."+name, value)
	}
	at.RawQuery = params.Encode()
	return at, nil
}

// askInstance returns what an instance has of the conversion. That it has nothing is an error, which says why.
func askInstance(ctx context.Context, at *url.URL, token string) (*why.Found, error) {
	ctx, cancel := context.WithTimeout(ctx, whyTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		var failed *url.Error
		if errors.As(err, &failed) {
			err = failed.Err // the rest is the address
		}
		return nil, fmt.Errorf("no answer: %w: see whether the instance runs, and what its http.addr is; or leave --http out, to read topics", err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxWhyBytes))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		var found why.Found
		if err := json.Unmarshal(body, &found); err != nil {
			return nil, fmt.Errorf("the answer is none of an instance's: %w", err)
		}
		return &found, nil
	}
	var none why.NotFound
	if json.Unmarshal(body, &none) == nil && none.Error != "" {
		if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMisdirectedRequest {
			return nil, &notThere{none.Error}
		}
		return nil, errors.New(none.Error)
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return nil, fmt.Errorf("it wants another token: give that of its http.token with %s or --token", httpTokenEnv)
	case http.StatusNotFound:
		return nil, errors.New("it does not explain conversions: see whether this is the address of `lookback run`, and which version it runs")
	}
	return nil, fmt.Errorf("it answers %s", resp.Status)
}
