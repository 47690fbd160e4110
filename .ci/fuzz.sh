#!/usr/bin/env bash
# Runs every fuzz target of the module in turn: fuzz.sh TIME
set -euo pipefail
cd "$(dirname "$0")/.."

time=${1:?usage: fuzz.sh TIME}
found=0
while IFS=: read -r file name; do
	found=1
	package=./$(dirname "$file")
	echo "fuzz: $package $name"
	go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "$package"
done < <(grep -roE --include='*_test.go' '^func Fuzz\w+' . | sed 's/^\.\///; s/func //')
[ $found = 1 ] || { echo "fuzz: no targets found" >&2; exit 1; }
