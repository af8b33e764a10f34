# `make` lists the targets.
FUZZTIME ?= 30s
COUNT ?= 10
PKG ?= ./...
BENCH ?= .

.DEFAULT_GOAL := help
.PHONY: help check fmt vet lint test race fuzz compat bench golden build

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check: ## everything CI runs, installing what it needs (scripts/test)
	scripts/test

fmt: bin/golangci-lint ## format the code
	bin/golangci-lint fmt ./...

vet: ## go vet
	go vet ./...

lint: bin/golangci-lint ## the linters of .golangci.yml
	bin/golangci-lint run ./...

test: ## unit tests
	go test $$(go list ./... | grep -v /compat_test$$)

race: ## unit tests with the race detector, shuffled
	go test -race -shuffle=on -count=1 $$(go list ./... | grep -v /compat_test$$)

fuzz: ## every fuzz target for FUZZTIME each
	FUZZTIME=$(FUZZTIME) scripts/test --only fuzz

compat: ## tests against real Celery, Django and gocelery
	scripts/venv
	go test -count=1 -parallel 4 ./compat_test/...

bench: ## Go benchmarks of PKG matching BENCH, COUNT times
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PKG)

golden: ## capture the golden files again from real Celery
	scripts/venv
	for script in scripts/capture_*.py; do .venv/bin/python $$script || exit 1; done

build: ## the apium binary, into bin/
	CGO_ENABLED=0 go build -trimpath -o bin/apium .

bin/golangci-lint:
	scripts/test --only tools
