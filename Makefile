# make help lists what there is. Neither the README's commands nor .ci/run need make.
GO ?= go
LINT ?= $(shell $(GO) env GOPATH)/bin/golangci-lint
BIN := bin

.PHONY: help check fmt lint test race fuzz story bench demo docs image up hooks tools

help: ## list these targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

check: ## everything that .ci/run does
	bash .ci/run

tools: ## install the pinned linter
	cd internal/devtools && $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint

fmt: ## format all Go files
	$(LINT) fmt

lint: ## vet and lint
	$(GO) vet ./...
	$(LINT) run

test: ## all tests
	$(GO) test ./...

race: ## all tests but the process stories, with the race detector, in random order
	$(GO) test -race -shuffle=on $$($(GO) list ./... | grep -v /stories)

fuzz: ## each fuzz test for a minute
	@for t in $$(grep -rlE '^func Fuzz' --include='*_test.go' internal); do \
		for f in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' $$t); do \
			$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime 60s ./$$(dirname $$t) || exit 1; done; done

story: ## the long kill story: 2,000 OTPs while sender, API and NATS are killed
	$(GO) test ./internal/stories -run TestStory -long -v -timeout 60m

bench: ## the benchmarks of docs/benchmarks.md
	for b in issue verify send e2e; do $(GO) run ./cmd/bench $$b; done

demo: ## the whole line without a phone
	$(GO) run ./cmd/demo

docs: ## write the generated pages anew
	$(GO) test ./internal/config -run TestDocs -update

image: ## static binaries and the images of docker-compose.yml, from nothing but the Go modules
	mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/ ./cmd/api ./cmd/sender ./cmd/whatsim
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/nats-server github.com/nats-io/nats-server/v2
	docker build -q -t wabek -f deploy/Dockerfile .
	docker build -q -t wabek-nats -f deploy/nats.Dockerfile .

up: image ## start NATS, an API and a sender by docker-compose.yml
	docker-compose up -d

hooks: ## let git run the checks of .githooks before each commit
	git config core.hooksPath .githooks
