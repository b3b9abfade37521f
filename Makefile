# Every module of the repository, found and not listed, so that a new one is built and checked by being there.
MODULES  := $(patsubst %/go.mod,%,$(shell find services hack -name go.mod -not -path '*/testdata/*' | sort))
SERVICES := client comment lab reader statistics
PACKAGES  = $(addsuffix /...,$(shell go list -m -f '{{.Dir}}'))
# The chart's tests and the end-to-end tests have targets of their own: Kubernetes' libraries take minutes to compile.
TESTED    = $(filter-out $(CURDIR)/hack/%,$(PACKAGES))
# The same for the workspace and for each module on its own, so that go tests again only what is built otherwise there. Not those
# of hack: with the race detector Kubernetes' libraries would be compiled twice.
TESTFLAGS = -race -timeout 20m
BIN      := $(CURDIR)/bin
# gin's MessagePack is not used, and compiling it takes a third of a first build.
export GOFLAGS := $(shell go env GOFLAGS) -tags=nomsgpack

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: ## Run the whole system here: every service, an embedded Redis, three viewers. ARGS="--viewers 1000 --videos 100" for more.
	@[ -x $(BIN)/lab ] || echo "building: the first time everything is compiled, which takes about a minute on two cores"
# Nobody waits for a compiler that saves memory, or for debug information, to see it run.
	@GOGC=400 go build -gcflags=all=-dwarf=false -ldflags=-s -o $(BIN)/lab ./services/lab
	@exec $(BIN)/lab up $(ARGS)

.PHONY: simulate
simulate: ## Simulate 2,000,000 viewers of 90,000 videos under every placement strategy, and write bin/report.html. ARGS=--help lists the flags.
	@go build -o $(BIN)/lab ./services/lab
	@$(BIN)/lab simulate --report $(BIN)/report.html $(ARGS)

.PHONY: report
report: ## Check in headless Chromium that the pages of the simulation and of the experiment open without a complaint.
	@hack/prepare chromium redis-server
	@go build -o $(BIN)/ $(addprefix ./services/,$(SERVICES))
	@$(BIN)/lab simulate --videos 2000 --viewers 50000 --readers 3,14,50 --report $(BIN)/check.html >/dev/null
	@$(BIN)/lab experiment --only matrix,redirect --routings random,bounded --readers 2,3 --videos 4 --viewers 24 --seconds 1 --report $(BIN)/check-experiment.html >/dev/null
	services/lab/page/check $(BIN)/check.html $(BIN)/check-experiment.html

.PHONY: experiment
experiment: prepare ## Place viewers in the running system, as processes, under every routing; readers come, go and die. ARGS=--help lists the flags.
	@go build -o $(BIN)/ $(addprefix ./services/,$(SERVICES))
	@$(BIN)/lab experiment --report $(BIN)/experiment.html $(ARGS)

.PHONY: test
test: prepare ## Test everything with the race detector, against the embedded Redis and a real one.
	@command -v node >/dev/null || echo "node is not in the PATH: the JavaScript of the documentation is not tested with it"
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  echo "Chromium is not in the PATH: what a browser does is not tested; hack/prepare chromium installs it"
	@command -v npm >/dev/null && $(MAKE) --no-print-directory axe || \
	  echo "axe-core cannot be had from npm: whether the pages are accessible is not tested"
	go test $(TESTFLAGS) $(TESTED)

.PHONY: bench-pages
bench-pages: prepare ## Measure the Watch page under 100 comments a second for a minute: frames, tasks, memory.
	@hack/prepare chromium
	LIVECOMMENTS_BENCH_PAGES=60s go test -count=1 -timeout 10m -v -run TestTheWatchPageIsSmooth ./services/lab/browser

.PHONY: screenshots
screenshots: prepare ## Write docs/pages/*.png: both pages, light and dark, as a desktop and a phone show them.
	@hack/prepare chromium fonts-inter fonts-noto-color-emoji
	LIVECOMMENTS_SCREENSHOTS=$(CURDIR)/docs/pages go test -count=1 -timeout 10m -run TestScreenshots ./services/lab/browser

CLIENT := services/statistics/pages/client

.PHONY: client
client: $(CLIENT)/node_modules ## Check the JavaScript client: its types, its size, what the package has, and what it does with a server that fails.
	cd $(CLIENT) && npm run --silent types && npm test --silent

.PHONY: client-build
client-build: $(CLIENT)/node_modules ## Make the client that is served and published from its source.
	cd $(CLIENT) && npm run --silent build

$(CLIENT)/node_modules: $(CLIENT)/package-lock.json
	cd $(CLIENT) && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

.PHONY: build
build: ## Build every service into bin/.
	go build -trimpath -o $(BIN)/ $(addprefix ./services/,$(SERVICES))

.PHONY: lint
lint: $(BIN)/golangci-lint ## Check form and style.
	$(BIN)/golangci-lint run $(PACKAGES)

.PHONY: format
format: $(BIN)/golangci-lint ## Bring the code into its form.
	$(BIN)/golangci-lint fmt $(PACKAGES)

.PHONY: modules
modules: prepare ## Check that each module builds, passes its tests and is tidy on its own.
	@set -e; for module in $(MODULES); do \
	  echo "== $$module"; \
	  case $$module in hack/*) flags="-timeout 20m" ;; *) flags="$(TESTFLAGS)" ;; esac; \
	  (cd $$module && export GOWORK=off && go mod tidy -diff && \
	    if [ -n "$$(go list ./... 2>/dev/null)" ]; then go build ./... && go vet ./... && go test $$flags ./...; fi) || exit 1; \
	done

.PHONY: soak
soak: prepare ## Kill Redis over and over under viewers whose streams keep ending, and count what they miss.
	@go build -o $(BIN)/lab ./services/lab
	@hack/soak

.PHONY: bench
bench: prepare ## Measure what a reader costs, beside the bare write(2). ARGS="--only hot --seconds 10" for less.
	@go build -o $(BIN)/ ./services/lab ./services/reader
	@$(BIN)/lab bench $(ARGS)

.PHONY: bench-parts
bench-parts: ## Benchmark the reader's parts, five times each, for benchstat.
	go test -run '^$$' -bench . -count 5 ./services/reader/...

.PHONY: fuzz
fuzz: ## Fuzz the parsers for half a minute each.
	go test -run '^$$' -fuzz FuzzParseID -fuzztime 30s ./services/shared/comment
	go test -run '^$$' -fuzz FuzzEscapeLineBreaks -fuzztime 30s ./services/shared/comment
	go test -run '^$$' -fuzz FuzzParseMessage -fuzztime 30s ./services/shared/broker

# What the pages take from npm: it is copied into the repository, so that building and running need no npm.
PAGES    := services/statistics/pages
PACKAGED := $(PAGES)/node_modules/.package-lock.json
UPLOT    := $(addprefix $(PAGES)/node_modules/uplot/,dist/uPlot.iife.min.js dist/uPlot.min.css LICENSE)

$(PACKAGED): $(PAGES)/package-lock.json
	@cd $(PAGES) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

.PHONY: axe
axe: $(PACKAGED) ## Install axe-core, by which the tests check that the pages are accessible.

.PHONY: assets
assets: $(PACKAGED) ## Copy uPlot, which draws the pages' charts, from its npm package.
	cp $(UPLOT) $(PAGES)/static/
	mv $(PAGES)/static/LICENSE $(PAGES)/static/uPlot.LICENSE.txt

.PHONY: check-assets
check-assets: SHELL := bash
check-assets: $(PACKAGED) ## Check that the copy is what the npm package has.
	@cat $(UPLOT) | cmp - <(cd $(PAGES)/static && cat uPlot.iife.min.js uPlot.min.css uPlot.LICENSE.txt) || \
	  { echo "make assets brings the copy of uPlot up to date" >&2; exit 1; }

.PHONY: settings
settings: ## Write the tables of docs/configuration.md from the services' settings.
	go run ./services/lab settings --write docs/configuration.md

.PHONY: chart
chart: $(BIN)/helm $(BIN)/helm-docs ## Check the chart: lint, rendered under several Kubernetes versions, alerts, README.
	@hack/prepare promtool
	$(BIN)/helm lint --strict charts/livecomments
	for values in k8s/values-*.yaml; do $(BIN)/helm lint --quiet --strict charts/livecomments --values $$values || exit 1; done
# Not from the cache, which does not see that files outside the module have changed.
	go test -count=1 ./hack/e2e/chart/...
	promtool check rules charts/livecomments/alerts/rules.yaml
	promtool test rules charts/livecomments/alerts/rules_test.yaml
	$(BIN)/helm template livecomments charts/livecomments --namespace x --set monitoring.prometheusRule.enabled=true \
	  --show-only templates/monitoring/prometheusrule.yaml | sed -e '1,/^spec:/d' -e 's/^  //' > $(BIN)/rules.yaml
	promtool check rules $(BIN)/rules.yaml
	@$(call helm-docs,--dry-run) | diff charts/livecomments/README.md - || { echo "make chart-readme brings charts/livecomments/README.md up to date" >&2; exit 1; }

.PHONY: chart-readme
chart-readme: $(BIN)/helm-docs ## Write the chart's README from its values.
	@$(call helm-docs,)

helm-docs = $(BIN)/helm-docs --log-level warning --chart-search-root charts --template-files README.md.gotmpl --sort-values-order file $(1)

.PHONY: workflows
workflows: ## Check the GitHub workflows.
	go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

.PHONY: images
images: ## Compile the services and wrap each in an image; the Docker engine must run.
	hack/images

# A local node image where it is at hand, else the one of kind's own release.
KIND_NODE_IMAGE ?= $(shell docker image inspect kindest/node:v1.34.4 >/dev/null 2>&1 && echo kindest/node:v1.34.4)
# Where Redis' image is at hand under a local name, no registry is asked for it.
OFFLINE ?= $(shell docker image inspect localhost/redis:8.0 >/dev/null 2>&1 && echo true)
CLUSTER := livecomments

.PHONY: kind-up
kind-up: $(BIN)/kind ## Make a kind cluster of three nodes, with metrics-server; nothing when it is there.
	@$(BIN)/kind get clusters --quiet | grep -qx $(CLUSTER) || \
	  $(BIN)/kind create cluster --name $(CLUSTER) --config k8s/kind.yaml --wait 120s $(addprefix --image ,$(KIND_NODE_IMAGE))
	@docker exec -i $(CLUSTER)-control-plane kubectl --kubeconfig /etc/kubernetes/admin.conf apply -f - < k8s/metrics-server.yaml >/dev/null

.PHONY: deploy
deploy: $(BIN)/kind $(BIN)/helm ## Build, and install or upgrade the chart on that cluster, with 300 simulated viewers.
	hack/images $(CLUSTER)
	$(BIN)/helm upgrade livecomments charts/livecomments --install --kube-context kind-$(CLUSTER) --namespace livecomments --create-namespace \
	  --values k8s/values-kind.yaml $(if $(OFFLINE),--values k8s/values-offline.yaml) --values bin/images/values.yaml --wait --timeout 3m >/dev/null
	@docker exec $(CLUSTER)-control-plane kubectl --kubeconfig /etc/kubernetes/admin.conf --namespace livecomments get pods
	@echo; echo "All pods are ready. Open http://localhost:8080 to see the fleet, http://localhost:8080/watch?videoid=demo to watch and comment, or by hand:"
	@echo "  curl -N 'http://localhost:8080/connect?userid=me&videoid=demo'"
	@echo "  curl http://localhost:8080/comment -d '{\"userid\":\"me\",\"videoid\":\"demo\",\"comment\":\"hello\"}'"
	@echo "Scale the readers: kubectl --context kind-$(CLUSTER) -n livecomments scale deployment/livecomments-reader --replicas=6"

.PHONY: kind-logs
kind-logs: $(BIN)/kind ## Write the logs of that cluster's nodes and pods to bin/e2e-logs.
	$(BIN)/kind export logs --name $(CLUSTER) $(BIN)/e2e-logs

.PHONY: kind-down
kind-down: $(BIN)/kind ## Delete that cluster, and all that is in it.
	$(BIN)/kind delete cluster --name $(CLUSTER)

.PHONY: e2e
e2e: ## Test end to end on a kind cluster of its own: E2E_KEEP=true keeps it, E2E_CLUSTER names another.
	hack/images
	cd hack/e2e && KIND_NODE_IMAGE=$(KIND_NODE_IMAGE) E2E_OFFLINE=$(OFFLINE) go test -tags=e2e,nomsgpack -count=1 -timeout 60m -v .

.PHONY: tools
tools: $(addprefix $(BIN)/,golangci-lint helm helm-docs kind) ## Build the tools of hack/tools into bin/.

# Helm renders for the Kubernetes whose libraries it was made of, when no cluster is asked; its own build sets that.
K8S_MINOR = $(shell cd hack/tools && GOWORK=off go list -m -f '{{.Version}}' k8s.io/client-go | cut -d. -f2)
HELM_MINOR = $(foreach of,chartutil lint/rules,-X helm.sh/helm/v3/pkg/$(of).k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/$(of).k8sVersionMinor=$(K8S_MINOR))

# Each tool is a file, so that a target builds no more than it needs.
$(BIN)/golangci-lint: TOOL = github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(BIN)/helm: TOOL = -ldflags '$(HELM_MINOR)' helm.sh/helm/v3/cmd/helm
$(BIN)/helm-docs: TOOL = github.com/norwoodj/helm-docs/cmd/helm-docs
$(BIN)/kind: TOOL = sigs.k8s.io/kind
$(addprefix $(BIN)/,golangci-lint helm helm-docs kind): hack/tools/go.mod
	@echo "building $(@F)"
	@cd hack/tools && GOWORK=off go build -o $@ $(TOOL)

.PHONY: prepare
prepare: ## Install what the tests need and do not find: redis-server, a C compiler.
	@hack/prepare redis-server cc

.PHONY: clean
clean: ## Remove what was built.
	rm -rf $(BIN)
