# What a contributor runs. `make` alone lists it.

export CGO_ENABLED ?= 0

TESTFLAGS ?=
FUZZTIME  ?= 10s
ROUNDS    ?= 5

# The tools have a module of their own, and the Go build cache keeps their binaries.
TOOL := go tool -modfile=tools/go.mod

.PHONY: help build demo test lint fmt fuzz fuzz-kernel kills faults figures bench many clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/berth
	go build -trimpath -o bin/ ./cmd/berth

demo: ## show the story that berth is for, with a registry of its own
	@go run -trimpath ./internal/demo

test: ## run all tests; those that miss Docker, skopeo or root say so and skip, unless CI=true
	go test $(TESTFLAGS) ./...
	cd internal/scheduler && go test -mod=mod $(TESTFLAGS) ./... # its module follows ours

lint: ## gofumpt, go vet for every system that we build for, staticcheck
	@unformatted=$$($(TOOL) gofumpt -l .); test -z "$$unformatted" || { echo "make fmt would change:"; echo "$$unformatted"; exit 1; }
	@for os in linux darwin windows; do GOOS=$$os go vet ./... || exit 1; done
	@$(TOOL) staticcheck ./...

fmt: ## format the code
	@$(TOOL) gofumpt -w .

fuzz: ## run each fuzz target for FUZZTIME
	@go test -list '^Fuzz' ./... | awk '/^Fuzz/ {f[n++] = $$1} /^ok/ {while (n > 0) print $$2, f[--n]}' | \
	while read -r package target; do \
		echo "$$package $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$package" || exit 1; \
	done

kills: ## kill a copy at 100 random moments, and let it finish
	@BERTH_KILLS=100 go test -count=1 -v -run TestKilled ./internal/e2e

fuzz-kernel: ## hold 100,000 mutated headers and first lines against execve (needs root on Linux amd64)
	CI=true MUTATIONS=20000 go test -count=1 -v -timeout 2h -run '^TestMutations$$' ./launch

figures: ## measure what berth costs: requests, round trips, bytes read
	@go run ./bench figures

faults: ## let one thing go wrong at a time in a copy of berth, crane, regctl and oras
	@go run ./bench faults

bench: ## compare copies with crane, regctl, oras and skopeo, ROUNDS in turn
	@go run ./bench copy $(ROUNDS)

many: ## compare the copy of 200 images in one go with loops of crane, regctl and oras
	@go run ./bench many

clean: ## remove what make builds
	rm -rf bin
