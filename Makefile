# See README.md. `make demo` and `make test` prepare the machine by themselves.
SHELL := /bin/bash
VENV := .venv/bin
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.venv/collections
export PYTHONPATH := $(CURDIR)/.venv/collections
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Of the long tests that rotate, those of this commit (docs/testing.md); empty runs all.
ROTATE := --rotate=HEAD
VMS := 20
FORKS := 5
PLUGINS := ansible_collections.hyper2kvm.migration.plugins

.PHONY: help setup dev demo options test unit lint sanity galaxy versions versions-ci molecule integration e2e full hostile fleet matrix bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## prepare this machine to run the playbooks from the checkout
	@scripts/setup run

dev:  ## prepare this machine to build the lab and to run every test
	@scripts/setup dev

demo:  ## build a faulty VMware guest, migrate it, boot it
	@scripts/setup demo
	@$(VENV)/python tests/lab/demo.py

options: dev  ## write what is made of options/*.yml: specs, documentation, role variables (docs/options.md)
	$(VENV)/python -m scripts.options
	$(VENV)/python scripts/role-readmes

test: dev  ## everything CI runs, the cheap first
	$(MAKE) --no-print-directory -j2 --output-sync=target lint sanity molecule versions-ci galaxy
	$(MAKE) --no-print-directory unit integration e2e

# What Python compiled is kept for the next of the many processes. Three at once on two cores: a good part of the tests waits for clocks.
unit: export PYTHONDONTWRITEBYTECODE :=
unit: dev  ## the inner loop
	$(VENV)/python -m pytest -n 3 --dist worksteal tests/unit

lint: dev  ## format, types, layers, documentation
	$(VENV)/ruff format -q --check plugins tests extensions scripts
	$(VENV)/ruff check -q plugins tests extensions scripts
	$(VENV)/mypy -p $(PLUGINS)
	$(VENV)/lint-imports --cache-dir build/imports
	$(VENV)/yamllint --strict .
	ANSIBLE_HOME=$(CURDIR)/build/ansible $(VENV)/ansible-lint -q  # else it keeps a copy of the collection in the home directory, and looks there first
	$(VENV)/antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self .
	$(VENV)/antsibull-changelog lint
	$(VENV)/python -m scripts.options --check
	$(VENV)/python scripts/role-readmes --check
	$(VENV)/python scripts/concerns --check
	$(VENV)/python scripts/schemas --check
	shellcheck scripts/setup tests/run-sanity tests/run-importer .ci/run

sanity: dev  ## ansible-test sanity
	tests/run-sanity

versions: dev  ## sanity and a migration in check mode with every ansible-core that galaxy.yml claims; what held for these files is not done again
	$(VENV)/python tests/versions/main.py

versions-ci: dev  ## the same with the oldest and the newest, in minutes
	$(VENV)/python tests/versions/main.py --ends

galaxy: dev  ## what Galaxy and Automation Hub say of the archive, and what an execution environment would install
	tests/run-importer

molecule: dev  ## the roles as a user has them
	$(VENV)/molecule test

integration: dev  ## modules and playbooks on real images, one appliance at a time
	$(VENV)/python -m pytest -n 2 --dist worksteal $(ROTATE) tests/integration

e2e: dev  ## lab guests migrated and booted, one of them also unrepaired
	$(VENV)/python -m pytest -n 2 --dist worksteal $(ROTATE) tests/e2e

full:  ## every integration test and every boot, none left to another commit
	$(MAKE) --no-print-directory integration e2e ROTATE=

hostile: dev  ## hostile inputs and failing machines, one by one; goes on where it stopped; WRITE=--write puts the figures into docs/security.md
	$(VENV)/python -m pytest -q -n 3 --dist worksteal --hypothesis-profile=wander tests/unit  # laws, by inputs that were not drawn before
	$(VENV)/python tests/hostile/run.py $(WRITE)

fleet: dev  ## 20 small VMs in one run, compared with their sources: seconds, memory, events; VMS=n FORKS=n; WRITE=--write puts the figures into docs/scale.md
	$(VENV)/python tests/lab/fleet.py --vms $(VMS) --forks $(FORKS) $(WRITE)

matrix: full  ## also the whole boot matrix with the unrepaired boots and the peer; writes docs/guests.md, docs/windows-peer.md and docs/domains-peer.md
	$(VENV)/python tests/lab/matrix.py
	$(VENV)/python tests/lab/windows_peer.py
	$(VENV)/python tests/lab/domains_peer.py

bench: dev  ## this collection against virt-v2v, transports against plain tools, alternating; writes docs/benchmarks*.md
	$(VENV)/python tests/lab/bench.py
	$(VENV)/python tests/lab/bench_transport.py

clean:  ## remove what was built, the virtual environment too
	rm -rf build .venv
