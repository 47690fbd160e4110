// Package rules turns rules.yaml into a Plan, and evaluates a Plan over events: the station on the route that says which
// touch gets the credit for a conversion.
//
// Compile parses strictly and reports every fault at once with its place. What it returns has names resolved to ranks and
// slots, join equalities to access paths, and the rest of each condition to a typed expression. Evaluation is a pure
// function of the events: the package knows no clock, no Kafka and no state, and reads files in Load alone.
package rules
