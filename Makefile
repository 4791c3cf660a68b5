# SPDX-License-Identifier: Apache-2.0
# `make run` shows what Weft does, `make test` proves it. `make help` lists the rest.
BUILD ?= build
JOBS ?= $(shell nproc)

.PHONY: help deps build run test bench check install uninstall clean

help:
	@echo "make run        build and run the acceptance tables (report: weft-report.html)"
	@echo "make test       build and run all tests"
	@echo "make build      build library and command into $(BUILD)/"
	@echo "make clean      remove the build folders"

deps:
	@tools/install-deps

build: deps
	@cmake -S . -B $(BUILD) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS)

test: build
	@cd $(BUILD) && ctest --output-on-failure

clean:
	rm -rf build build-*
