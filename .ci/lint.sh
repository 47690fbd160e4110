#!/usr/bin/env bash
# Formatting, vet, staticcheck, the import edges (.depguard.yml) and the wall clock. Reports everything, then fails.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=0
check() { # check NAME COMMAND...
	local name=$1
	shift
	echo "lint: $name"
	"$@" || { echo "lint: $name: failed" >&2; failed=1; }
}
tool() { go tool -modfile=.ci/tools.mod "$@"; }

formatting() {
	local files
	files=$(gofmt -s -l .) || return
	[ -z "$files" ] || { printf 'not formatted, run make fmt:\n%s\n' "$files" >&2; return 1; }
}

# Time comes from the data: in rules and tables nothing may ask the machine for it, tests included.
wall_clock() {
	tool forbidigo -set_exit_status -analyze_types \
		'{p: "^time\\.(Now|Since|Until|After|AfterFunc|NewTimer|NewTicker|Tick|Sleep)$", msg: "time comes from the data"}' \
		-- ./rules/... ./tables/...
}

# A sleep cannot be cancelled, and a test that sleeps hopes. Benchmarks and tests wait for a condition.
sleeps() {
	tool forbidigo -set_exit_status -analyze_types \
		'{p: "^time\\.Sleep$", msg: "wait for a condition, or on a timer beside a context"}' -- ./...
}

check formatting formatting
check vet go vet ./...
check staticcheck tool staticcheck ./...
check "import edges" tool depguard ./...
check "wall clock" wall_clock
check sleeps sleeps
exit $failed
