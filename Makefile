# What there is to do. `make` or `make help` lists it. Everything needs only Go: tools are
# pinned here (and, for plugins, in buf.gen.yaml) and run by the Go command. The tests of the
# deployments, of store/redis and of faults, and the demo, also ask others' tools (`make tools`),
# and say so where they find none.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

BUF      := go run github.com/bufbuild/buf/cmd/buf@v1.75.0
GOLANGCI := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

CONFIG   ?= examples/quickstart/config.yaml
TIMEOUT  ?= 20m
FUZZTIME ?= 30s
BENCH    ?= .
TRACES   ?= server/simulate/testdata/traces
COUNT    ?= 1
SEEDS    ?= 1000000
RACE     ?= $(if $(shell command -v $(firstword $(shell go env CC)) 2>/dev/null),-race)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Serve CONFIG on this machine
	go run ./server/cmd/watermaster serve --config $(CONFIG)

.PHONY: demo
demo: ## Show three replicas on one Redis, and kill one of them and Redis
	go run ./examples/demo

.PHONY: build
build: ## Build .bin/watermaster
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o .bin/watermaster ./server/cmd/watermaster

.PHONY: test
test: vet test-all test-again test-fuzz ## Vet, test everything, again with the race detector, fuzz each target for FUZZTIME

# What the tests ask besides Go: kustomize, kubernetes-validate (with Kubernetes' schemas), Envoy,
# and of the system redis-server, faketime, curl, openssl and systemd-analyze. Root gets those from apt; who cannot install a tool
# is told so, and the tests that need it are skipped with a word.
.PHONY: tools
tools: ## Install into .bin what the tests ask besides Go (as root, with apt, into the system)
	@.ci/tools

.PHONY: vet
vet:
	go vet -composites=false ./...

# What measures a server's answers should have the machine: these packages are tested one at a
# time. Of the others some only wait, so two run at once.
ALONE := ./server ./server/cmd/... ./examples/demo/... ./examples/envoy ./clients/fleet

.PHONY: test-all
test-all: clients
	go test -p 1 -timeout $(TIMEOUT) $(ALONE)
	go test -p 2 -timeout $(TIMEOUT) $$(go list ./... | grep -vxFf <(go list $(ALONE)))

# Both wait for more than half of their time.
.PHONY: test-again
test-again: clients
	@$(MAKE) -j2 --output-sync=target test-race test-clients

# The clients mostly wait, so they are tested side by side.
.PHONY: test-clients
test-clients: clients
	@$(MAKE) -j3 --output-sync=target test-go-client test-python-client test-typescript-client

# Modules of their own: what asks for a client gets nothing but it, and the SDKs stay with its tests.
GO_CLIENT := clients/go clients/go/tokenizer clients/go/sdktest

.PHONY: clients
clients: build tools ## Build what the tests of the clients run: the service, the workers of clients/fleet
	cd clients/go/sdktest && go build -o ../../../.bin/worker ./worker
	if [[ -d clients/typescript/node_modules ]]; then npm --prefix clients/typescript run --silent build; fi

.PHONY: test-go-client
test-go-client:
	for module in $(GO_CLIENT); do (cd $$module && go vet ./... && go test $(RACE) -timeout $(TIMEOUT) ./...) || exit 1; done

# Each is also installed alone, as its users have it.
.PHONY: test-python-client
test-python-client:
	@if [[ -x .bin/clients/bin/pytest ]]; \
	then cd clients/python && ../../.bin/clients/bin/mypy --strict && ../../.bin/clients/bin/ruff check . && ../../.bin/clients/bin/pytest -q && \
		../../.bin/uv/bin/uv run --quiet --isolated --no-project --python ../../.bin/clients/bin/python --with . python -c 'import watermaster; watermaster.Limiter().close()'; \
	else echo 'make: clients/python is not tested: see what make tools says' >&2; fi

.PHONY: test-typescript-client
test-typescript-client:
	@if [[ -d clients/typescript/node_modules ]]; \
	then cd clients/typescript && npm run --silent check && npm test --silent && npm run --silent test:package; \
	else echo 'make: clients/typescript is not tested: see what make tools says' >&2; fi

# Long runs of one goroutine are not repeated (-short): they have nothing to race with. The race
# detector needs a C compiler; without one this is left out, and says so.
.PHONY: test-race
test-race:
	@$(if $(RACE),go test $(RACE) -short -timeout $(TIMEOUT) ./...,echo 'make: no C compiler, so no race detector' >&2)

# Four targets at a time, with one worker each.
.PHONY: test-fuzz
test-fuzz:
	@for module in . clients/go; do (cd $$module && go test -list '^Fuzz' ./...) \
	| awk -v m=$$module '/^Fuzz/ {f[n++] = $$1} /^ok/ {for (i = 0; i < n; i++) print m, $$2, f[i]; n = 0}'; done \
	| xargs -P 4 -I{} sh -c '.ci/fuzz {} $(FUZZTIME) -timeout $(TIMEOUT)'

.PHONY: bench
bench: ## Run the benchmarks that match BENCH, COUNT times
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 60m ./...

.PHONY: prove
prove: ## Replay TRACES before strict providers and write the tables of PROOF.md and the README
	go test ./server/simulate -count 1 -timeout 60m -args -prove -traces $(abspath $(TRACES))

.PHONY: mutants
mutants: ## Plant bugs in the engine, one at a time: its tests must notice each
	go test -tags mutants -run TestMutants -v -timeout 30m ./limiter

# Hours. TORTURE selects tests.
TORTURE ?= .
.PHONY: torture
torture: tools ## Run SEEDS worlds of the simulation, and the long figures of the faults on real servers (TORTURE: which)
	go test ./server/replica/simulation -count 1 -timeout 24h -v -run '^TestSeeds$$' -args -seeds $(SEEDS)
	go test ./server/cmd/watermaster/faults -count 1 -timeout 12h -v -run '$(TORTURE)' -args -torture

.PHONY: generate
generate: .bin/generate/bin/python ## Generate what proto/ says, for the service and the clients (needs Python and npx)
	$(BUF) generate
	cd clients && $(BUF) generate

# protoc, in the oldest version whose code runs with all of Python's protobuf 6 and 7.
.bin/generate/bin/python:
	python3 -m venv .bin/generate
	.bin/generate/bin/pip install --quiet --disable-pip-version-check grpcio-tools==1.73.1

.PHONY: generate-check
generate-check: .bin/generate/bin/python ## Fail if what is generated is not current
	@dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$(BUF) generate -o "$$dir"; \
	diff -r -x '*.proto' -x '*.yaml' -x '*_test.go' -x doc.go -x openapi.go "$$dir/proto/watermaster" proto/watermaster \
	&& diff -r "$$dir/server/web/internal" server/web/internal \
	&& (cd clients && $(BUF) generate -o "$$dir/clients") \
	&& for code in go/watermaster python/src/watermaster/v1 typescript/src/watermaster typescript/src/google; do \
		diff -r -x "__*" "$$dir/clients/$$code" "clients/$$code" || exit 1; done \
	|| { echo 'make: generated code is not current; run make generate' >&2; exit 1; }

.PHONY: lint
lint: generate-check ## Check style, protos and generated code
	$(BUF) lint
	$(BUF) format --diff --exit-code --path proto/watermaster
	$(GOLANGCI) config verify
	$(GOLANGCI) run ./...
	for module in $(GO_CLIENT); do (cd $$module && $(GOLANGCI) run --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

.PHONY: format
format: ## Format Go and protos
	$(GOLANGCI) fmt ./...
	for module in $(GO_CLIENT); do (cd $$module && $(GOLANGCI) fmt --config $(CURDIR)/.golangci.yml ./...) || exit 1; done
	$(BUF) format --write --path proto/watermaster

.PHONY: clean
clean: ## Remove what was built
	rm -rf .bin
