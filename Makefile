# The commands of the project. `make up` and `make test` are the two that matter; see README.md.
SHELL := /bin/bash
CACHE ?= $(if $(TESTBED_CACHE),$(TESTBED_CACHE),$(HOME)/.cache/testbed)
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
NODES ?= 1
# `ARGS` goes through: make conformance ARGS="--budget 60 --resume --out results"
ARGS ?=

.PHONY: up down test autoscaling-test differential check conformance conformance-smoke kill-test

## build, install what is missing, start a cluster, run the example, print its address and the answer
up:
	scripts/prerequisites build runtime
	cargo build --release --package keelson
	scripts/up $(TARGET)/release/keelson --nodes $(NODES) $(ARGS)

## everything that `make up` made is gone
down:
	@if [ -x $(TARGET)/release/keelson ]; then $(TARGET)/release/keelson down $(ARGS); else $(TARGET)/debug/keelson down $(ARGS); fi

## formatting, structure and lints; what comes from outside, where `cargo install cargo-deny --locked` was done
check:
	cargo fmt --all --check
	cargo xtask tidy
	cargo clippy --workspace --all-targets -- --deny warnings
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check licenses bans sources; else echo "cargo-deny is not installed: licenses and duplicates were not looked at"; fi

## unit, integration, and the example on real containers
test:
	scripts/prerequisites build runtime tools
	scripts/test

## upstream's metrics-server and an autoscaler on a cluster of ours
autoscaling-test:
	scripts/prerequisites build runtime tools metrics
	cargo build --package keelson
	scripts/test-autoscaling $(TARGET)/debug/keelson

## the same requests to upstream's kube-apiserver and to ours: ARGS="30-kinds --verbose"
differential:
	scripts/prerequisites build reference
	cargo run --package differential-tests -- $(ARGS)

## upstream's whole suite against `keelson up --nodes 2`, in parts: ARGS="--budget MINUTES --resume --out FOLDER"
conformance:
	scripts/prerequisites build runtime tools suite
	cargo build --release --package keelson
	scripts/conformance $(TARGET)/release/keelson $(ARGS)

## the fixed list of tests/conformance/smoke.txt
conformance-smoke:
	scripts/prerequisites build runtime tools suite
	scripts/conformance-smoke $(ARGS)

## kill -9 at random moments under load, 100 times; ARGS="--etcd PATH" for a real etcd
kill-test:
	scripts/prerequisites build runtime tools
	cargo build --release --package keelson --package robustness-tests
	$(TARGET)/release/kill-loop --keelson $(TARGET)/release/keelson $(ARGS)
