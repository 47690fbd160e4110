package gen

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestNewRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"add up to":            func(c *Config) { c.Mix.Clicks = 0.5 },
		"without impressions":  func(c *Config) { c.Mix = Mix{Clicks: 1} },
		"broken":               func(c *Config) { c.Broken = math.NaN() },
		"users":                func(c *Config) { c.Users = 0 },
		"advertisers":          func(c *Config) { c.Advertisers = 1 << 16 },
		"needs a rate":         func(c *Config) { c.Events = 0 },
		"spread":               func(c *Config) { c.Spread = 0 },
		"lag":                  func(c *Config) { c.ClickLag.Max = 0 },
		"start":                func(c *Config) { c.Start = time.Time{} },
		"more than 1":          func(c *Config) { c.FromViews = 1 },
		"disorder: 2 is not a": func(c *Config) { c.Disorder.Share = 2 },
	} {
		c := Default()
		spoil(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error with %q, got %v", name, err)
		}
	}
}
