# Every module of the repository, found and not listed, so that a new one is built and checked by being there.
MODULES  := $(patsubst %/go.mod,%,$(shell find services hack -name go.mod -not -path '*/testdata/*' | sort))
SERVICES := client comment lab reader statistics
PACKAGES  = $(addsuffix /...,$(shell go list -m -f '{{.Dir}}'))
BIN      := $(CURDIR)/bin
# gin's MessagePack is not used, and compiling it takes a third of a first build.
export GOFLAGS := $(shell go env GOFLAGS) -tags=nomsgpack

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Run the whole system here: every service, an embedded Redis, three viewers. ARGS="--viewers 1000 --videos 100" for more.
	@[ -x $(BIN)/lab ] || echo "building: the first time everything is compiled, which takes about a minute on two cores"
# Nobody waits for a compiler that saves memory, or for debug information, to see it run.
	@GOGC=400 go build -gcflags=all=-dwarf=false -ldflags=-s -o $(BIN)/lab ./services/lab
	@exec $(BIN)/lab up $(ARGS)

.PHONY: test
test: prepare ## Test everything with the race detector, against the embedded Redis and a real one.
	go test -race -timeout 10m $(PACKAGES)

.PHONY: build
build: ## Build every service into bin/.
	go build -trimpath -o $(BIN)/ $(addprefix ./services/,$(SERVICES))

.PHONY: lint
lint: tools ## Check form and style.
	$(BIN)/golangci-lint run $(PACKAGES)

.PHONY: format
format: tools ## Bring the code into its form.
	$(BIN)/golangci-lint fmt $(PACKAGES)

.PHONY: modules
modules: prepare ## Check that each module builds, passes its tests and is tidy on its own.
	@set -e; for module in $(MODULES); do \
	  echo "== $$module"; \
	  (cd $$module && export GOWORK=off && go mod tidy -diff && \
	    if [ -n "$$(go list ./... 2>/dev/null)" ]; then go build ./... && go vet ./... && go test -timeout 10m ./...; fi) || exit 1; \
	done

.PHONY: soak
soak: prepare ## Kill Redis over and over under viewers whose streams keep ending, and count what they miss.
	@go build -o $(BIN)/lab ./services/lab
	@hack/soak

.PHONY: fuzz
fuzz: ## Fuzz the parsers for half a minute each.
	go test -run '^$$' -fuzz FuzzParseID -fuzztime 30s ./services/shared/comment

.PHONY: readme
readme: ## Write the configuration tables of the README from the services' settings.
	go run ./services/lab settings --write README.md

.PHONY: tools
tools: ## Build the tools of hack/tools into bin/.
	@cd hack/tools && GOWORK=off GOBIN=$(BIN) go install tool

.PHONY: prepare
prepare: ## Install what the tests need and do not find: redis-server, a C compiler.
	@hack/prepare

.PHONY: clean
clean: ## Remove what was built.
	rm -rf $(BIN)
