package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/seed-2058fbc3/lookback/processors"
)

//go:embed verify.html
var verifyPage string

var verifyTemplate = template.Must(template.New("verify").Funcs(template.FuncMap{
	"grouped": grouped, "percent": percent, "verdict": verdict, "interval": verifiedInterval,
	"rejects":  func(s processors.VerifiedStream) string { return rejectsOf(&s) },
	"measures": func(t processors.VerifiedTotal) []string { return measuresOf(&t) },
	"chart":    func(r processors.VerifiedRule) template.HTML { return verifyChart(&r) },
	"causes":   func(r processors.VerifiedRule) []verifiedCause { return verifiedCauses(&r) },
}).Parse(verifyPage))

// verifyHTML writes a page that needs nothing beside itself.
func verifyHTML(w io.Writer, v *processors.Verification) error {
	return verifyTemplate.Execute(w, v)
}

// verifiedCause is a line of the table of causes.
type verifiedCause struct {
	Cause     processors.Cause
	Count     int64
	Text      string
	Explained bool
	Examples  []processors.Difference
}

func verifiedCauses(r *processors.VerifiedRule) (list []verifiedCause) {
	for _, cause := range slices.Backward(processors.VerifyCauses()) {
		if r.Different[cause] == 0 {
			continue
		}
		of := verifiedCause{cause, r.Different[cause], causeTexts[cause], cause.Explained(), nil}
		for _, d := range r.Examples {
			if d.Cause == cause {
				of.Examples = append(of.Examples, d)
			}
		}
		list = append(list, of)
	}
	return list
}

// chartBar is what happened in one step of a chart.
type chartBar struct{ judged, explained, wrong int64 }

// maxBars is how many bars a chart has at most.
const maxBars = 120

// barSteps are the lengths of time that a bar may stand for.
var barSteps = []time.Duration{
	time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour,
}

// chartBars divides the minutes among bars of one length.
func chartBars(minutes []processors.VerifiedMinute) (bars []chartBar, first time.Time, step time.Duration) {
	begin, end := minutes[0].Minute, minutes[len(minutes)-1].Minute
	step = barSteps[len(barSteps)-1]
	for _, s := range barSteps {
		if end.Sub(begin.Truncate(s)) < maxBars*s {
			step = s
			break
		}
	}
	for end.Sub(begin.Truncate(step)) >= maxBars*step {
		step *= 2
	}
	first = begin.Truncate(step)
	bars = make([]chartBar, end.Sub(first)/step+1)
	for _, m := range minutes {
		b := &bars[m.Minute.Sub(first)/step]
		b.judged += m.Judged
		b.explained += m.Explained
		b.wrong += m.Wrong
	}
	return bars, first, step
}

// verifyChart draws a rule's conversions over time: how many were judged, and beneath, on a scale of its own, which share differs.
func verifyChart(r *processors.VerifiedRule) template.HTML {
	if len(r.Minutes) == 0 {
		return ""
	}
	const width, height, gap, left, top = 960, 110, 40, 64, 18
	bars, first, step := chartBars(r.Minutes)
	most, share := int64(1), 0.0
	for _, b := range bars {
		most = max(most, b.judged)
		share = max(share, float64(b.explained+b.wrong)/float64(max(b.judged, 1)))
	}
	var s strings.Builder
	total := top + 2*height + gap + 28
	fmt.Fprintf(&s, `<svg viewBox="0 0 %d %d" role="img" aria-label="Conversions over event time, and the share of them that differs">`, left+width+8, total)
	lower := top + height + gap
	text := func(x, y int, class, format string, args ...any) {
		fmt.Fprintf(&s, `<text x="%d" y="%d" class="%s">%s</text>`, x, y, class, template.HTMLEscapeString(fmt.Sprintf(format, args...)))
	}
	text(left, top-6, "", "conversions per %s of event time", durationName(step))
	text(left-6, top+10, "end", "%s", compact(most))
	text(left, lower-6, "", "share that differs from the batch over all events")
	text(left-6, lower+10, "end", "%.3g%%", 100*share)
	for _, base := range []int{top + height, lower + height} {
		fmt.Fprintf(&s, `<line x1="%d" y1="%d" x2="%d" y2="%d"/>`, left, base, left+width, base)
	}
	slot := float64(width) / float64(len(bars))
	rect := func(i int, y, h float64, class, title string) {
		if h > 0 {
			fmt.Fprintf(&s, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" class="%s"><title>%s</title></rect>`,
				float64(left)+float64(i)*slot, y, max(slot-1, 0.5), h, class, template.HTMLEscapeString(title))
		}
	}
	for i, b := range bars {
		at := first.Add(time.Duration(i) * step).Format("2006-01-02 15:04")
		title := fmt.Sprintf("%s: %s conversions, %s explained, %s wrong", at, grouped(b.judged), grouped(b.explained), grouped(b.wrong))
		h := float64(height) * float64(b.judged) / float64(most)
		rect(i, float64(top+height)-h, h, "judged", title)
		if share == 0 || b.judged == 0 {
			continue
		}
		scale := float64(height) / share / float64(b.judged)
		wrong, explained := float64(b.wrong)*scale, float64(b.explained)*scale
		rect(i, float64(lower+height)-wrong, wrong, "wrong", title)
		rect(i, float64(lower+height)-wrong-explained, explained, "explained", title)
	}
	text(left, total-8, "", "%s", first.Format("2006-01-02 15:04"))
	text(left+width, total-8, "end", "%s UTC", first.Add(time.Duration(len(bars))*step).Format("2006-01-02 15:04"))
	s.WriteString("</svg>")
	return template.HTML(s.String())
}

// durationName is a length of time in words of a chart.
func durationName(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}
