package gen

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Config describes a stream. Start from Default and change what matters; New checks the rest.
type Config struct {
	Seed        uint64
	Events      uint64  // records to make, re-sent and broken ones included; 0: no end
	Users       int     // how many users there are
	Zipf        float64 // exponent of the users' activity: user of rank k is seen in proportion to k^-Zipf; 0: all alike
	Advertisers int
	Mix         Mix

	// Time runs on a schedule: record n happens at Start + n/Rate, or, where Rate is 0, at n/Events of Spread. A caller
	// in real time sets Start to its clock's reading and sends each record when its Arrival is due.
	Start  time.Time
	Spread time.Duration
	Rate   float64 // records per second

	ClickLag      Lag // from an impression to its click
	ConversionLag Lag // from a touch to its conversion
	FromClicks    float64
	FromViews     float64 // shares of the conversions that follow a click or a view; the rest is organic

	Disorder       Disorder
	Duplicates     float64       // share of the events that are sent twice, byte for byte
	Conflicts      float64       // share of the events that are sent again with the same id and another amount
	ResendWithin   time.Duration // how long after the first sending the second comes, at most
	Broken         float64       // share of the events that come broken, evenly over the broken kinds
	Recent         int           // impressions (of the sampled ones) that clicks and conversions can refer to
	PendingRecords int           // delayed and re-sent records in flight; beyond it records are neither delayed nor re-sent
}

// Mix is the shares of the three streams among the events. They add up to 1.
type Mix struct{ Impressions, Clicks, Conversions float64 }

// Lag is a log-normal distribution of waiting times. Lags that reach back beyond the remembered touches are spread
// evenly over what is remembered.
type Lag struct{ Median, Max time.Duration }

// Disorder says how records arrive later than they happen.
type Disorder struct {
	Share float64       // of the events
	Max   time.Duration // longest delay; most are much shorter
}

// Default is a month of a mid-sized bidder's traffic: five million events of a million users, in order and clean but for
// a little disorder, a few records sent twice and a few broken ones.
func Default() Config {
	return Config{
		Seed:           1,
		Events:         5_000_000,
		Users:          1_000_000,
		Zipf:           0.9,
		Advertisers:    50,
		Mix:            Mix{Impressions: 0.94, Clicks: 0.05, Conversions: 0.01},
		Start:          time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Spread:         30 * 24 * time.Hour,
		ClickLag:       Lag{Median: 2 * time.Minute, Max: 48 * time.Hour},
		ConversionLag:  Lag{Median: 4 * time.Hour, Max: 30 * 24 * time.Hour},
		FromClicks:     0.4,
		FromViews:      0.5,
		Disorder:       Disorder{Share: 0.02, Max: 30 * time.Minute},
		Duplicates:     0.01,
		ResendWithin:   10 * time.Minute,
		Broken:         0.001,
		Recent:         1 << 17,
		PendingRecords: 1 << 16,
	}
}

// check returns everything that is wrong with the configuration.
func (c *Config) check() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	share := func(name string, v float64) {
		refuse(!(v >= 0 && v <= 1), "%s: %v is not a share between 0 and 1", name, v)
	}
	share("impressions", c.Mix.Impressions)
	share("clicks", c.Mix.Clicks)
	share("conversions", c.Mix.Conversions)
	sum := c.Mix.Impressions + c.Mix.Clicks + c.Mix.Conversions
	refuse(!(math.Abs(sum-1) < 1e-6), "mix: the shares of impressions, clicks and conversions add up to %v, not to 1", sum)
	refuse(c.Mix.Clicks > 0 && c.Mix.Impressions == 0, "mix: there are no clicks without impressions")
	share("conversions from clicks", c.FromClicks)
	share("conversions from views", c.FromViews)
	refuse(c.FromClicks+c.FromViews > 1+1e-6, "conversions from clicks and from views add up to more than 1")
	share("disorder", c.Disorder.Share)
	share("duplicates", c.Duplicates)
	share("conflicts", c.Conflicts)
	share("broken", c.Broken)
	refuse(c.Users < 1 || c.Users > math.MaxUint32, "users: %d is not between 1 and %d", c.Users, uint32(math.MaxUint32))
	refuse(c.Advertisers < 1 || c.Advertisers > math.MaxUint16, "advertisers: %d is not between 1 and %d", c.Advertisers, math.MaxUint16)
	refuse(!(c.Zipf >= 0 && c.Zipf <= 4), "zipf: %v is not between 0 and 4", c.Zipf)
	refuse(c.Start.Before(time.Unix(0, 0)) || c.Start.Year() > 2200, "start: %v is not between 1970 and 2200", c.Start)
	refuse(!(c.Rate >= 0 && c.Rate <= 1e9), "rate: %v records per second", c.Rate)
	refuse(c.Rate == 0 && c.Events == 0, "a stream without end needs a rate")
	refuse(c.Rate == 0 && c.Spread <= 0, "spread: %v must be positive where there is no rate", c.Spread)
	refuse(c.Disorder.Max < 0 || c.ResendWithin < 0, "delays must not be negative")
	refuse(c.Recent < 1, "recent: at least one impression must be remembered")
	refuse(c.PendingRecords < 0, "pending records: %d must not be negative", c.PendingRecords)
	for _, l := range []Lag{c.ClickLag, c.ConversionLag} {
		refuse(l.Median <= 0 || l.Max < l.Median, "lag: the median (%v) must be positive and at most the maximum (%v)", l.Median, l.Max)
	}
	return errors.Join(errs...)
}
