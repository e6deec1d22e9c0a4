# inferkit: `make lab` opens the course, `make test` proves it. Each target calls one tool; logic lives in Python.
PYTHON ?= python3
N ?= 01
ARGS ?=
RUN := .venv/bin/python
KIND := $(if $(GPU),gpu,course)

help: ## list the targets
	@$(PYTHON) -c "import re; [print('make %-14s %s' % m) for m in re.findall(r'^([a-z-]+):.*?## (.*)', open('Makefile').read(), re.M)]"

lab: ## open the course in JupyterLab (GPU=1 with an accelerator, ARGS="..." for JupyterLab)
	@$(PYTHON) binder/bootstrap.py $(KIND) && $(RUN) -m notebooks.lab open $(ARGS)

lecture: ## present lesson N=01 as live slides
	@$(PYTHON) binder/bootstrap.py $(KIND) && $(RUN) -m notebooks.lab lecture $(N) $(ARGS)

reset: ## give a fresh copy of lesson N=01; the old one is kept beside it
	@$(PYTHON) binder/bootstrap.py $(KIND) && $(RUN) -m notebooks.lab reset $(N)

test: env ## lint, unit tests, lessons under the memory cap, a real browser
	@$(RUN) -m tests $(ARGS)

lint: env ## style, types and layers alone
	@$(RUN) -m tests lint

notebooks: env ## rebuild lessons, exercises and solutions from their sources
	@$(RUN) -m notebooks.build $(ARGS)

binder-check: env ## run each lesson once in 2 GB on one core, print seconds and peak memory
	@$(RUN) -m notebooks.run $(ARGS)

slides: env ## hand-outs of the slides, in build/slides
	@$(RUN) -m notebooks.publish slides $(ARGS)

site: env ## the course as a web site, in build/site
	@$(RUN) -m notebooks.publish site $(ARGS)

bench: env ## measure what the design promises: import, predict_one, the pad
	@$(RUN) -m tests.bench $(ARGS)

weights: env ## train the shipped models again and register their hashes
	@$(RUN) -m datasets.make_digit_models $(ARGS)

lock: env ## resolve the locks anew (ARGS="--upgrade" for newer versions)
	@PATH=".venv/bin:$$PATH" $(RUN) binder/lock.py $(ARGS)

env:
	@$(PYTHON) binder/bootstrap.py dev

.DEFAULT_GOAL := help
.PHONY: help lab lecture reset test lint notebooks binder-check slides site bench weights lock env
