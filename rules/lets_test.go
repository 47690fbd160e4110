package rules

import (
	"errors"
	"strings"
	"testing"
)

// letRule has its conditions and columns to be filled in.
const letRule = `
rules:
  - name: attributed
    attribute: conversion
    key: [user_id, advertiser_id]
    lookback: 30d
    @LET@
    classes:
      A: {touch: impression, where: '@WHERE@'}
      B: {touch: [click, impression]}
    priority: '@PRIORITY@'
    require: '@REQUIRE@'
    model: [last, {weights: '@WEIGHT@'}]
    select: {s: '@SELECT@'}
    measure: {m: '@MEASURE@'}
    into: attributed
`

// A rule with names is the rule with their expressions in the places of the names, whatever names are made of.
func TestLetStandsForItsExpression(t *testing.T) {
	const let = `let:
      value: conversion.value * 2
      more: 'value + 1'
      same: conversion.advertiser_id == touch.advertiser_id
      text: 'let x = impression.campaign_id; x + "!"'
      big: more > 10 && same`
	where := []string{"@WHERE@", "@PRIORITY@", "@REQUIRE@", "@WEIGHT@", "@SELECT@", "@MEASURE@"}
	named := []string{"big && impression.price > 1", "same ? more : value", "not same or more > 3", "more - value", "text + text", "more"}
	written := []string{
		"((conversion.value * 2 + 1 > 10) && conversion.advertiser_id == touch.advertiser_id) && impression.price > 1",
		"conversion.advertiser_id == touch.advertiser_id ? conversion.value * 2 + 1 : conversion.value * 2",
		"not (conversion.advertiser_id == touch.advertiser_id) or conversion.value * 2 + 1 > 3",
		"(conversion.value * 2 + 1) - conversion.value * 2",
		`(let x = impression.campaign_id; x + "!") + (let x = impression.campaign_id; x + "!")`,
		"conversion.value * 2 + 1",
	}
	fill := func(let string, with []string) string {
		src := strings.Replace(adStreams+letRule, "@LET@", let, 1)
		for i, text := range with {
			src = strings.Replace(src, where[i], text, 1)
		}
		return src
	}
	a, b := mustCompile(t, fill(let, named)), mustCompile(t, fill("", written))
	if a.Rules[0].Hash != b.Rules[0].Hash || a.Hash != b.Hash {
		t.Errorf("with names the rule's hash is %s, without %s", a.Rules[0].Hash, b.Rules[0].Hash)
	}
	if len(a.Rules[0].Unused) > 0 {
		t.Errorf("nothing uses %v", a.Rules[0].Unused)
	}
	if got := a.Rules[0].Classes[0].Where.String(); got != named[0] {
		t.Errorf("the condition shows as %q, was written %q", got, named[0])
	}
	unused := strings.Replace(fill(let, written), "let:", "let:\n      more_still: more", 1)
	if _, err := Compile("rules.yaml", []byte(unused), noEnv); err == nil || !strings.Contains(err.Error(), `unknown name "more"`) {
		t.Errorf("an entry that uses one below it: %v", err)
	}
	if p := mustCompile(t, fill(let+"\n      odd: 1", named)); len(p.Rules[0].Unused) != 1 || p.Rules[0].Unused[0] != "odd" {
		t.Errorf("nothing uses odd, not %v", p.Rules[0].Unused)
	}
}

func TestFaultsOfLetAreExplained(t *testing.T) {
	for _, c := range []struct{ let, where, want string }{
		{"let: {x: conversion.valeu}", "x > 1", `unknown field "valeu"`},
		{"let: {x: 'conversion.value +'}", "x > 1", "unexpected token"},
		{"let: {x: conversion.value}", "x > true", "> between a decimal and a bool"},
		{"let: {x: conversion.value}", "x", `must be true or false, but "x" is decimal`},
		{"let: {x: click.auction_id}", `x == ""`, `stream "click" cannot be read here`},
		{"let: {x: conversion.value}", "let x = 1; x > 0", `"x" is an entry of let; choose another name`},
		{"let: {click: conversion.value}", "true", `"click" is the name of a stream or a table`},
		{"let: {touch: conversion.value}", "true", `"touch" means something else in expressions`},
		{"let: {len: conversion.value}", "true", `"len" is a function of expressions`},
		{"let: {1x: conversion.value}", "true", `"1x" is not a name`},
		{"let: [x]", "true", "must be a mapping"},
		{"let: {x: [1]}", "true", "must be"},
		{"let: {x: conversion.value, y: x, z: w}", "true", `unknown name "w"`},
		{"let: {x: conversion.value}", "y > 1", `unknown name "y"`},
	} {
		src := strings.Replace(adStreams+letRule, "@LET@", c.let, 1)
		src = strings.Replace(src, "@WHERE@", c.where, 1)
		for _, rest := range []string{"@PRIORITY@", "@WEIGHT@", "@SELECT@", "@MEASURE@"} {
			src = strings.Replace(src, rest, "1", 1)
		}
		src = strings.Replace(src, "@REQUIRE@", "true", 1)
		_, err := Compile("rules.yaml", []byte(src), noEnv)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, where %s: %v, want %q", c.let, c.where, err, c.want)
			continue
		}
		if list := (Errors{}); !errors.As(err, &list) || len(list) != 1 {
			t.Errorf("%s, where %s: one fault is reported as %d:\n%v", c.let, c.where, len(list), err)
		}
	}
}

// What doubles with every name is refused before it fills the memory.
func TestLetsDoNotExplode(t *testing.T) {
	let := "let:\n      x0: conversion.value"
	for i := 1; i < 40; i++ {
		let += strings.NewReplacer("@", string(rune('0'+i/10))+string(rune('0'+i%10)), "#", string(rune('0'+(i-1)/10))+string(rune('0'+(i-1)%10))).Replace("\n      x@: x# + x#")
	}
	let = strings.ReplaceAll(let, "x00", "x0")
	src := strings.Replace(adStreams+letRule, "@LET@", let, 1)
	_, err := Compile("rules.yaml", []byte(src), noEnv)
	if err == nil || !strings.Contains(err.Error(), "more than 10000 parts") {
		t.Errorf("%.500v", err)
	}
}
