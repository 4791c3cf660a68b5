# SPDX-License-Identifier: Apache-2.0
# `make run` shows what Weft does, `make test` proves it. `make help` lists the rest.
BUILD ?= build
SECONDS ?= 3600
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
CMAKE_FLAGS ?=
FUZZ_TIME ?= 3600
MAKEFLAGS += --no-print-directory

# Sanitizer builds: Debug keeps the assertions, -O1 keeps the suite quick.
SANITIZER_FLAGS = -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-O1 -g1" \
  $(CMAKE_FLAGS)
CTEST = ctest --output-on-failure -j $(JOBS)
# Newer kernels place code where gcc 12's ThreadSanitizer cannot; -R prevents that.
NO_ASLR = $(shell setarch -R true 2>/dev/null && echo setarch -R)

# Schedules of `make explore`, and its other settings (--seed N, --only SCENARIO).
COUNT ?= 10000000
EXPLORE_FLAGS ?=

.PHONY: help deps build run test test-gpu test-wheel bench soak check check-large \
  install uninstall clean tsan \
  asan ubsan clang fuzz-build aarch64 format explore

help:
	@echo "make run        build and run the acceptance tables (weft-report.html)"
	@echo "make test       build and run all tests"
	@echo "make build      build library and command into $(BUILD)/"
	@echo "make test-gpu   run the CUDA tests and tables on this machine's card"
	@echo "make test-wheel build the Python wheel and test it in an empty environment"
	@echo "make bench      time Weft beside PyTorch and ONNX Runtime"
	@echo "make soak       all tables at once for SECONDS=$(SECONDS), every answer compared"
	@echo "make install    install into PREFIX ($(PREFIX)); make uninstall takes it back"
	@echo "make check      format, include direction, contracts, sizes"
	@echo "make check-large  a model with 2.6 GB of weights in an external file"
	@echo "make tsan, asan, ubsan    the tests under a sanitizer"
	@echo "make clang      the tests built by clang, lock annotations checked"
	@echo "make aarch64    cross compile, and run the tests under qemu"
	@echo "make fuzz       the libFuzzer programs, each FUZZ_TIME=$(FUZZ_TIME) seconds"
	@echo "make explore    COUNT ($(COUNT)) schedules of the concurrent code, new seeds"
	@echo "make format     format all sources"
	@echo "make clean      remove the build folders"

deps:
	@tools/install-deps

build: deps
	@cmake -S . -B $(BUILD) $(CMAKE_FLAGS) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS)

run: build
	@$(BUILD)/weft report --json weft-report.json --html weft-report.html

test: build
	@cd $(BUILD) && $(CTEST)

# DEVICE: the card of kernels, tables, checks and soak; other tests take the first that
# CUDA_VISIBLE_DEVICES leaves. SOAK_SECONDS, see tools/test-gpu.
DEVICE ?= cuda:0
test-gpu: build
	@tools/test-gpu $(BUILD) $(DEVICE)

PYTHON ?= python3
test-wheel: deps
	@tools/install-deps python3-venv
	@python/tests/wheel $(PYTHON)

bench: build
	@$(BUILD)/weft bench --null
	@bench/peers.py --weft $(BUILD)/weft --json bench-peers.json

soak: build
	@$(BUILD)/weft soak --seconds $(SECONDS) --report soak.md

check:
	@tools/install-deps clang-format-14 python3
	@tools/check

check-large: build
	@tools/check_large_weights $(BUILD)/weft

# Finds it in /usr/local/lib. Not for what only gathers the files (DESTDIR), and to no
# avail under fakeroot.
LDCONFIG = [ "$$(id -u)" != 0 ] || [ -n "$(DESTDIR)" ] || PATH=$$PATH:/sbin ldconfig || true

# No dependency on `build`, so that `sudo make install` leaves no files of root.
install:
	@test -f $(BUILD)/libweft.a || { echo "type: make build, then make install"; exit 1; }
	@cmake --install $(BUILD) --prefix $(PREFIX)
	@$(LDCONFIG)

uninstall:
	@cmake --build $(BUILD) --target uninstall
	@$(LDCONFIG)

tsan: deps
	@cmake -S . -B build-tsan -DWEFT_SANITIZE=thread $(SANITIZER_FLAGS) >/dev/null
	@cmake --build build-tsan -j $(JOBS) --target weft_tests
	@cd build-tsan && $(NO_ASLR) $(CTEST) -LE slow

asan: deps
	@cmake -S . -B build-asan -DWEFT_SANITIZE=address,undefined $(SANITIZER_FLAGS) \
	  >/dev/null
	@cmake --build build-asan -j $(JOBS) --target weft_tests
	@cd build-asan && ASAN_OPTIONS=detect_leaks=1 $(CTEST) -LE slow

ubsan: deps
	@cmake -S . -B build-ubsan -DWEFT_SANITIZE=undefined $(SANITIZER_FLAGS) >/dev/null
	@cmake --build build-ubsan -j $(JOBS) --target weft_tests
	@cd build-ubsan && $(CTEST) -LE slow

clang:
	@tools/install-deps clang-14
	@CC=clang-14 cmake -S . -B build-clang $(CMAKE_FLAGS) >/dev/null
	@cmake --build build-clang -j $(JOBS)
	@cd build-clang && $(CTEST) -LE slow

explore: build
	@$(BUILD)/tests/explore --count $(COUNT) --jobs $(JOBS) $(EXPLORE_FLAGS)

fuzz-build:
	@tools/install-deps clang-14
	@CC=clang-14 cmake -S . -B build-fuzz -DWEFT_FUZZ=ON $(SANITIZER_FLAGS) \
	  -DWEFT_SANITIZE=address,undefined >/dev/null
	@cmake --build build-fuzz -j $(JOBS) --target fuzzers

.PHONY: fuzz
fuzz: fuzz-build
	@tools/fuzz $(FUZZ_TIME)

aarch64:
	@JOBS=$(JOBS) tools/check-aarch64

format:
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

clean:
	rm -rf build build-*
