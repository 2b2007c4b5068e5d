# Everything a newcomer types. `make help` lists it.
PYTHON ?= $(shell command -v python3.13 || command -v python3.12 || command -v python3.11 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin
DIR ?= var
WORKERS ?= $(shell expr $$(nproc) + 2)

.PHONY: help start test stress soak test-door test-cgroup test-machine check lint types contract docs site docs-reference unit attacks tls-scan fuzz bench bench-peers bench-smoke bench-detect bench-detect-real bench-platform bench-services bench-models executed-code profile callgrind clean-clone clean attack-figures dist sbom deb test-deb test-lowest test-newcomer test-container

help: ## list the targets
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F':.*?## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/tlsrt-supervisor: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tlsrt needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[http]'
	@$(BIN)/python -m compileall -q config channels sandbox loops supervisor tlsrt/command_line tlsrt/testing tlsrt/worker tlsrt/*.py
	@touch $@

$(VENV)/.dev: pyproject.toml $(BIN)/tlsrt-supervisor
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

start: $(BIN)/tlsrt-supervisor ## install, configure ./var if there is nothing yet, and start in the foreground
	@test -e "$(DIR)/tlsrt.yaml" || { said=$$($(BIN)/tlsrt-supervisor init "$(DIR)") || exit; echo "$$said" | grep -v '^next: '; }
	@exec $(BIN)/tlsrt-supervisor start --config "$(DIR)/tlsrt.yaml"

test: $(VENV)/.dev ## run every test, in two processes more than there are processors, as many wait (WORKERS=1: one after the other; TESTS=)
	@$(BIN)/python tests/tools/run.py $(WORKERS) $(TESTS)

unit: $(VENV)/.dev ## run the tests that need no processes
	@$(BIN)/python -m pytest -q tests/unit tests/property

# What strangers and clients meet, with the door in a process of its own.
DOOR_ATTACKS = bounded_memory captured_door captured_primary decoys door enrolment frame_rate garbage gone_clients \
	greedy_clients lock mutual_tls places replay session_budget shapes slow_clients splice stolen_token unlock web_door \
	web_floods
DOOR_INTEGRATION = calls console_calls console_client door_process drain enrolment honeypot http_gateway node_client \
	revocation sip tls_command web_door

test-door: $(VENV)/.dev ## the tests of what clients and strangers meet, with the door in a process of its own
	@TLSRT_TEST_DOOR=own $(BIN)/python tests/tools/run.py $(WORKERS) -m "not stress and not shared_door" \
		$(DOOR_ATTACKS:%=tests/attacks/test_%.py) $(DOOR_INTEGRATION:%=tests/integration/test_%.py)

test-cgroup: $(VENV)/.dev ## limits by control groups, in a user-mode kernel (Debian: user-mode-linux)
	@$(BIN)/python -m pytest -q -x tests/tools/user_mode_kernel/*_*.py --timeout 300

test-machine: $(VENV)/.dev ## a camera of V4L2, and an alarm that ends sleep, in a virtual machine (as root; a mirror of Debian)
	@$(BIN)/python -m pytest -q tests/tools/machine/devices.py --timeout 1800

stress: $(VENV)/.dev ## what the suite does a few times, for minutes
	@$(BIN)/python -m pytest -q -m stress

soak: $(VENV)/.dev ## let faults of a plan happen to a host under calls, for hours (SEED=, MINUTES=60)
	@PYTHONPATH=tests $(BIN)/python -m chaos.soak $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

attacks: $(VENV)/.dev ## run the attacks on a running system
	@$(BIN)/python -m pytest -q tests/attacks

attack-figures: $(VENV)/.dev ## what an innocent client sees during each attack (ROW=: only that one; not judged)
	@PYTHONPATH=tests $(BIN)/python -m tools.attack_figures $(ROW)

tls-scan: $(VENV)/.dev ## let sslscan and testssl.sh (Debian) look at a running host; any finding but the test CA fails
	@PYTHONPATH=tests $(BIN)/python -m tools.tls_scan

fuzz: $(VENV)/.dev ## give the parsers that a stranger reaches other bytes for minutes (MINUTES=10, SEED=)
	@$(BIN)/python tests/tools/fuzz.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

lint: $(VENV)/.dev ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy, strict
	@$(BIN)/mypy

contract: $(VENV)/.dev ## the street of imports
	@$(BIN)/lint-imports

docs-reference: $(VENV)/.dev ## write the generated pages of docs/reference
	@PYTHONPATH=tests $(BIN)/python -m tools.reference

screenshots: $(VENV)/.dev ## take the pictures of the console's screens again, in docs/pictures (chromium-headless-shell, port 7443)
	@PYTHONPATH=tests $(BIN)/python -m tools.screenshots $(OF)

$(VENV)/.docs: pyproject.toml $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

docs: $(VENV)/.docs ## check the documents (links, stale pages, long lines, commands on a real host), build the site in build/site
	@$(BIN)/python -m pytest -q tests/unit/test_documents.py tests/integration/test_documents.py
	@NO_MKDOCS_2_WARNING=1 PYTHONPATH=tests $(BIN)/mkdocs build --strict

site: $(VENV)/.docs ## build the site only, in build/site
	@NO_MKDOCS_2_WARNING=1 PYTHONPATH=tests $(BIN)/mkdocs build --strict

check: lint types contract test ## what .ci/run runs

$(VENV)/.bench: pyproject.toml $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]' || echo "bench: no peers from PyPI, the table names them"
	@touch $@

bench-peers: $(VENV)/.bench ## get the peers: PyPI into the environment, Debian's packages unpacked under bench/.peers
	@$(BIN)/python bench/get_peers.py

bench: bench-peers ## measure us beside our peers, print ratios, write JSON and pages (ROW=call, ROUNDS=9, LOAD=2, RECORD=1)
	@$(BIN)/python bench/run.py $(foreach row,$(ROW),--row $(row)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(LOAD),--load $(LOAD)) $(if $(RECORD),--record)

bench-smoke: bench-peers ## the same in under a minute; a peer that is missing fails
	@$(BIN)/python bench/run.py --smoke --strict

bench-detect: $(VENV)/.dev ## the detectors over generated attacks and ordinary traffic: rates, times, false ones (SEEDS=10 HOURS=24 DAYS=1)
	@$(BIN)/python bench/run_detect.py $(if $(SEEDS),--seeds $(SEEDS)) $(if $(HOURS),--hours $(HOURS)) $(if $(DAYS),--days $(DAYS))

bench-detect-real: $(VENV)/.dev ## each class of attack against a host that runs, in 10 minutes: told by whom, which step, after how long
	@$(BIN)/python -m pytest -q -s -m stress tests/attacks/test_attack_classes.py

bench-platform: $(VENV)/.bench ## what a component costs: memory, births, programs, neighbours, beside their goals; under 3 minutes
	@$(BIN)/python bench/run_platform.py

bench-services: $(VENV)/.bench ## what the runtime costs at rest, without and with the services that are brought, as root, in 5 minutes
	@$(BIN)/python bench/run_services.py

bench-models: $(VENV)/.bench ## what the models of the AI services cost (extras ai, ai-speech; espeak-ng), in about 2 minutes
	@$(BIN)/python bench/run_models.py

executed-code: $(VENV)/.dev ## write which functions a component's process executes, whose code lies together
	@cd tests && PYTHONPATH=. $(abspath $(BIN))/python -m tools.executed_code

profile: $(VENV)/.bench ## show where the time of a message goes, per stage (ROW=call, CASE="64 B, 64 outstanding")
	@$(BIN)/python bench/run_profile.py $(if $(ROW),--row $(ROW)) $(if $(CASE),--case "$(CASE)")

callgrind: $(VENV)/.dev ## count the instructions of a call, part by part, under valgrind and compare (RENEW=1 writes the figures)
	@$(BIN)/python bench/run_callgrind.py $(if $(RENEW),--renew)

dist: $(VENV)/.dev ## wheel and sdist in dist/: the same commit makes the same bytes
	@$(BIN)/python distribution/dist.py dist

sbom: dist ## bill of materials of the wheel in dist/, as CycloneDX, with the versions that were tested
	@$(BIN)/python distribution/sbom.py dist/tlsrt-$$($(BIN)/python -c 'import tlsrt; print(tlsrt.__version__)')-py3-none-any.whl dist/tlsrt.cdx.json

deb: $(VENV)/.dev ## the package of Debian in dist/, by dpkg-deb
	@$(BIN)/python distribution/deb.py dist

test-deb: $(VENV)/.dev ## install, upgrade, downgrade, remove and purge that package in a clean Debian (as root; mmdebstrap, lintian)
	@$(BIN)/python -m pytest -q -x tests/tools/debian_root/package.py tests/tools/debian_root/first_days.py --timeout 300

test-lowest: $(VENV)/.dev ## the unit tests and some hosts with the lowest versions, those of Debian 13 (as root; mmdebstrap, a mirror)
	@$(BIN)/python -m pytest -q -x tests/tools/debian_root/lowest.py --timeout 1000

test-newcomer: $(VENV)/.dev ## the commands of the README, pipx and uv, in a clean Debian (as root; mmdebstrap, a mirror, PyPI)
	@$(BIN)/python -m pytest -q -x tests/tools/debian_root/newcomer.py --timeout 500

test-container: $(VENV)/.dev ## build and run the container (as root; mmdebstrap, podman, a mirror of Debian)
	@$(BIN)/python -m pytest -q -x tests/tools/debian_root/container.py --timeout 600

clean-clone: ## what a stranger does first, on a fresh clone (needs PyPI and port 7443)
	@tests/tools/clean_clone.sh PYTHON=$(PYTHON)

clean: ## remove what make made (not ./var)
	rm -rf $(VENV) bench/.peers build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
