# make prints this help. Everything runs with Go alone; Apache Kafka is tested too where Java and Maven are installed.
.DEFAULT_GOAL := help
SHELL := bash

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
RULES ?= rules.yaml
FOR ?= 60s
FUZZTIME ?= 10s
COUNT ?= 1
ONLY ?= throughput,latency
MINUTES ?= 10
SOAK ?=
PLANS ?= 10000
SEED ?= 0
# Tests of one goroutine, which the race detector has nothing to say about.
ALONE = TestEvery|TestExpiryLoses|TestRandomRules|TestFullHistories|TestExplanationsAgree|TestBudget
# The race detector needs a C compiler.
RACE = $(shell command -v "$$(go env CC)" >/dev/null && echo -race)

##@ Use
.PHONY: help build demo dev kafka up down
help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/lookback, static
	CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '$(LDFLAGS)' -o bin/lookback ./cmd/lookback

demo: build ## watch credits and corrections on a generated stream (FOR=60s)
	bin/lookback demo --for $(FOR)

dev: build ## run RULES=rules.yaml on an embedded broker that keeps its data in .lookback/
	bin/lookback dev --rules $(RULES) --data-dir .lookback

kafka: ## run Apache Kafka in the foreground at 127.0.0.1:9092 (Java 17, Maven)
	@go run ./internal/kafkatest/start -port 9092

up: ## build the image and start Kafka, topics and Lookback with Docker
	docker compose up --build --detach --wait

down: ## stop them and delete their volumes
	docker compose down --volumes

##@ Change
.PHONY: check test race lint fmt vet fuzz random bench bench-kafka soak soak-bugs cover clean
check: lint jars ## what CI runs: lint, every test with the race detector on every broker at hand, a short soak
	@[ -n "$(RACE)" ] || echo "check: no C compiler, so no race detector"
	go test $(RACE) -count=1 -timeout 18m ./...
	go test -count=1 -timeout 10m -run '$(ALONE)' ./processors
	LOOKBACK_SOAK=1 go test -count=1 -timeout 10m -run TestSoak -v ./soak

test: jars ## every test
	go test -timeout 10m ./...

race: ## every test with the race detector
	go test -race -timeout 15m ./...

lint: ## formatting, vet, staticcheck, import edges, wall clock
	@.ci/lint.sh

fmt: ## format the code
	gofmt -s -w .

vet: ## go vet
	go vet ./...

fuzz: ## run each fuzz target for FUZZTIME=10s
	@.ci/fuzz.sh $(FUZZTIME)

random: ## hold the core against the definition on PLANS=10000 random rules of 1000 events each (SEED=0)
	go test -count=1 -timeout 60m -run TestRandomRules -v ./processors -random.plans=$(PLANS) -random.seed=$(SEED)

bench: ## run the benchmarks and print a table (COUNT=1)
	@go run ./bench -count $(COUNT)

bench-kafka: ## measure the process on Apache Kafka (COUNT=1, ONLY=throughput,latency, backlog, restore or verify)
	@go run ./bench -count $(COUNT) -only $(ONLY)

soak: jars ## kill, stop and damage everything under load on Apache Kafka, and check every credit (MINUTES=10, SOAK="-seed 1")
	@go run ./soak -minutes $(MINUTES) $(SOAK)

soak-bugs: jars ## see the soak fail with each of three known bugs put in
	@go run ./soak -bugs $(SOAK)

cover: ## test coverage by function, and cover.html
	go test -coverpkg=./... -coverprofile=cover.out ./...
	go tool cover -func=cover.out | tail -n 1
	go tool cover -html=cover.out -o cover.html

clean: ## remove what was built, and the data of make dev
	rm -rf bin .lookback cover.out cover.html

# Fetched before the tests, so that their time limits do not include a download.
.PHONY: jars
jars:
	@go run ./internal/kafkatest/start -fetch
