MAKEFLAGS += --no-print-directory
race := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# The folders of the workspace's modules, those without a package left out.
modules = $(sort $(shell go list -f '{{.Module.Dir}}' work))

# The tools that tools/go.mod pins, each built by its name into bin.
bin           := build/bin
gofumpt       := mvdan.cc/gofumpt
staticcheck   := honnef.co/go/tools/cmd/staticcheck
golangci-lint := github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: ## Run all tests of all modules; install the servers they need where that can be done
	scripts/with-servers.sh go test $(race) -shuffle=on work

.PHONY: ci
ci: ## Run what CI runs: test, lint, platforms, golangci, fuzz, bench-smoke, demo, cover, e2e, model
	$(MAKE) test
	$(MAKE) lint
	$(MAKE) platforms
	$(MAKE) golangci
	$(MAKE) fuzz FUZZTIME=5s
	$(MAKE) bench-smoke
	$(MAKE) demo
	$(MAKE) cover
	$(MAKE) e2e
	$(MAKE) model

.PHONY: lint
lint: $(bin)/gofumpt $(bin)/staticcheck ## Check format, go vet, staticcheck, go.mod files, host and path names
	unformatted=$$($(bin)/gofumpt -l .); echo "$$unformatted"; test -z "$$unformatted"
	go vet -tags=e2e work
	$(bin)/staticcheck -tags=e2e work
	set -e; for m in $(modules) tools; do go -C $$m mod tidy -diff; done
	scripts/names.sh

platforms = darwin/arm64 freebsd/amd64 js/wasm plan9/amd64 wasip1/wasm windows/amd64

.PHONY: platforms
platforms: ## Build for other platforms; test as a program of 32 bits where those run
	set -e; for p in $(platforms); do echo "build $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 go build ./...; done
	set -e; for p in darwin/arm64 windows/amd64; do echo "vet $$p"; GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 go vet ./...; done
	test "$$(uname -sm)" != "Linux x86_64" || GOARCH=386 CGO_ENABLED=0 go test -skip=TestSnippets ./...

.PHONY: golangci
golangci: $(bin)/golangci-lint ## Check the rules of .golangci.yml (building the tool takes minutes, once)
	set -e; for m in $(modules); do (cd $$m && $(CURDIR)/$(bin)/golangci-lint run ./...); done

.PHONY: e2e
e2e: ## Show a dying host to a real Collector, Prometheus and Alertmanager; build and install them first
	scripts/with-monitoring.sh go test $(race) -tags=e2e -count=1 -parallel=8 -v ./deploy/e2e

.PHONY: collector
collector: ## Print the path of the Collector for e2e (building it takes minutes, once)
	@scripts/collector.sh

FUZZTIME ?= 10m

.PHONY: model
model: ## Check the formal model of the protocol between processes; install spin where that can be done
	scripts/with-spin.sh internal/fleet/model/check.sh

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME each (10m)
	scripts/fuzz.sh $(FUZZTIME)

.PHONY: cover
cover: ## Show the coverage of the root and internal packages; fail below 95 %
	scripts/with-servers.sh scripts/cover.sh 95

.PHONY: demo
demo: ## Show circuits at work in a terminal; SVG=docs/demo.svg draws the picture too
	go run ./examples/demo $(if $(SVG),-svg $(SVG))

BENCHTIME ?= 4m

.PHONY: bench
bench: ## Measure beside the peers for about BENCHTIME (4m), and write the tables into docs/benchmarks.md
	go -C benchmarks run . -for $(BENCHTIME) -into ../docs/benchmarks.md -short ../README.md

.PHONY: bench-shared
bench-shared: ## Measure circuits shared by Redis beside gobreaker's, and write the table into docs/benchmarks.md
	scripts/with-servers.sh go -C benchmarks run . -shared -for 40s -into ../docs/benchmarks.md

.PHONY: bench-smoke
bench-smoke: ## Run every benchmark once and check the allocations
	go -C benchmarks test -run='^$$' -bench=. -benchtime=1x .
	go -C benchmarks run -ldflags=-randlayout=1 . -layout -for 1s >/dev/null

SEEDS ?= 10

.PHONY: judge
judge: ## Play scenarios to circuit breakers, and write how well they judge into docs/judgement.md
	go run ./benchmarks/judge -seeds $(SEEDS) -into docs/judgement.md -short README.md -picture docs/judgement.svg

.PHONY: soak
soak: ## Play the model of the Transport, and torture it over real sockets, for long
	BREAKERHTTP_MODEL=10m go test $(race) -timeout=20m -v ./internal/contract
	BREAKERHTTP_TORTURE=5m go test $(race) -timeout=20m -v ./internal/torture

.PHONY: sim
sim: ## Simulate fleets of 1 to 10,000 processes; write the tables into docs/sharing.md and docs/fleet.svg
	BREAKERHTTP_SIM=1 go test -count=1 -run=TestReport -timeout=1h ./internal/fleet/sim
	@sed -n "/sim:begin/,/sim:end/p" docs/sharing.md

.PHONY: mutate
mutate: ## Break the rules one at a time, and show that a test fails for each
	go run ./scripts/mutate

.PHONY: pictures
pictures: ## Take the pictures of the page for docs, in the Chromium of this machine
	BREAKERHTTP_REQUIRE_SERVERS=1 go test -count=1 -run=TestPictures ./dashboard/browsertest -args -docs

.PHONY: clean
clean: ## Remove what the targets built
	rm -rf build

$(bin)/%: tools/go.mod tools/go.sum
	GOWORK=off go -C tools build -o ../$@ $($*)
