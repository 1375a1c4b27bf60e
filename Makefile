# The commands of everyday work. Each is one line, so that it can be typed without make too.
.PHONY: setup fast test live lint types transcripts mutations docs gate

setup:            ## install the project, its tests and its tools into the active environment
	pip install -e '.[test,dev]'

fast:             ## the tests that need no processes: under a minute
	python -m pytest -n logical -m "not processes and not slow and not live"

test:             ## all tests
	python -m pytest

live:             ## the live page in a real browser, and the guided tour
	python -m pytest -m live

lint:             ## style and formatting
	ruff check . && ruff format --check .

types:            ## strict type checks
	mypy

transcripts:      ## etcd/raft's transcripts: make transcripts DIR=path
	python -m tests.transcripts $(DIR)

mutations:        ## break the core on purpose, and see which test notices
	python -m tests.mutation

docs:             ## the pages as a site, in site/
	pip install -e '.[docs]' && mkdocs build --strict

gate:             ## what has to pass before a change is merged
	.ci/run
