# make test is the command to run before a commit. It needs root on Debian to install
# Asterisk (test/provision); elsewhere it leaves those tests out and says so at its end.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# The version goes in by hand, below. A checkout that git takes for somebody else's, as
# in many containers, would stop the build for a stamp that nobody reads.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT    ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
FUZZTIME  ?= 20s
SOAKCOUNT ?= 20

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: all build test lint fuzz bench soak clean

all: build

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/amiproxy ./cmd/amiproxy

# Tests that compare with a real Asterisk add their counts to the file AMIPROXY_REPORT
# (test/report_test.go), which is shown at the end, whatever the end is.
# With AMIPROXY_CI=1 a skipped test is a failed one. Results are never taken from the
# cache, which knows nothing of the programs that tests run.
test:
	@status=0; test/provision || status=$$?; \
	case $$status in \
	0) export AMIPROXY_REQUIRE_ASTERISK=1 ;; \
	3) export AMIPROXY_REQUIRE_ASTERISK=0 ;; \
	*) exit 1 ;; \
	esac; \
	go vet ./...; \
	AMIPROXY_REPORT=$$(mktemp); export AMIPROXY_REPORT; log=; \
	trap 'if [ -s "$$AMIPROXY_REPORT" ]; then echo "make test: compared with real Asterisk:"; cat "$$AMIPROXY_REPORT"; fi; rm -f "$$AMIPROXY_REPORT" "$$log"' EXIT; \
	if [ "$${AMIPROXY_CI:-}" = 1 ]; then \
		log=$$(mktemp); \
		go test -race -count=1 -timeout 20m -v ./... 2>&1 | tee "$$log" | { grep --line-buffered -Ev '^(=== | *--- PASS)' || :; }; \
		skipped=$$(awk '/^ *--- SKIP: / { name[n++] = $$3 } /^(ok|FAIL) *\t/ { for (i = 0; i < n; i++) print "  " $$2 " " name[i]; n = 0 }' "$$log"); \
		if [ -n "$$skipped" ]; then printf 'make test: with AMIPROXY_CI=1 no test may be skipped; these were, for the reasons above:\n%s\n' "$$skipped"; exit 1; fi; \
	else \
		go test -race -count=1 -timeout 20m ./...; \
	fi; \
	if [ $$status -eq 3 ]; then \
		printf '%s\n' \
			'make test: LEFT OUT: all tests against real Asterisk 16 and 22, which could not be installed here.' \
			'make test: For the reason see what test/provision said above. To have them, run make test as root on Debian,' \
			'make test: for example in a privileged debian:stable container with Go and gcc.'; \
	fi

lint:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then printf 'gofmt these:\n%s\n' "$$unformatted"; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...
	bash -n test/provision
	bash -n .ci/run

# Every fuzz target in turn, each for FUZZTIME.
fuzz:
	@{ grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . || echo 'no fuzz targets' >&2; } | while IFS=: read -r file _ target; do \
		target=$${target#func }; \
		echo "$$(dirname "$$file") $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null; \
	done

bench:
	go test -run '^$$' -bench . -benchmem ./...

# Again and again under the race detector, without what starts processes; and what takes
# long once in its long form.
soak:
	AMIPROXY_SOAK=1 go test -race -count 1 -timeout 20m -v -run '^TestBruteForce$$' ./proxy
	go test -race -count $(SOAKCOUNT) -timeout 60m $$(go list ./... | grep -Ev '/test(/asterisk)?$$')

clean:
	rm -rf bin
