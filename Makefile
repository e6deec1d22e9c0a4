# inferkit: `make lab` opens the course, `make test` proves it. Each target calls binder/course.py, which does the same
# on machines that have no make.
PYTHON ?= python3
N ?= 01
ARGS ?=
# In place of the shell, so that a signal to make reaches it.
COURSE := exec $(PYTHON) binder/course.py
GPU_FLAG := $(if $(GPU),--gpu)

help: ## list the targets
	@$(PYTHON) -c "import re; [print('make %-14s %s' % m) for m in re.findall(r'^([a-z-]+):.*?## (.*)', open('Makefile').read(), re.M)]"

lab: ## open the course in JupyterLab (GPU=1 with an accelerator, ARGS="..." for JupyterLab)
	@$(COURSE) lab $(GPU_FLAG) $(ARGS)

lecture: ## present lesson N=01 as live slides
	@$(COURSE) lecture $(GPU_FLAG) $(N) $(ARGS)

reset: ## give a fresh copy of lesson N=01; the old one is kept beside it
	@$(COURSE) reset $(GPU_FLAG) $(N)

test: ## what a landing needs: what is short, what changed, four lessons, and of what takes long a fifth by turn
	@$(COURSE) test $(ARGS)

verify: ## everything: all lessons, Binder, Python 3.13, and alone what measures against a clock
	@$(COURSE) verify $(ARGS)

lint: ## style, types and layers alone
	@$(COURSE) lint

notebooks: ## rebuild lessons, exercises and solutions from their sources
	@$(COURSE) notebooks $(ARGS)

binder-check: ## run each lesson once in 2 GB on one core, print seconds and peak memory
	@$(COURSE) binder-check $(ARGS)

links: ## write every public address anew from the one setting in pyproject.toml
	@$(COURSE) links $(ARGS)

slides: ## hand-outs of the slides, in build/slides
	@$(COURSE) slides $(ARGS)

site: ## the course as a web site, in build/site
	@$(COURSE) site $(ARGS)

bench: ## measure what the design promises (ARGS="predictor", "batch", "serving" or "optimize" for a part)
	@$(COURSE) bench $(ARGS)

weights: ## train the shipped models again and register their hashes
	@$(COURSE) weights $(ARGS)

lock: ## resolve the locks anew (ARGS="--upgrade" for newer versions)
	@$(COURSE) lock $(ARGS)

env: ## make the environment, and nothing else
	@$(COURSE) env

.DEFAULT_GOAL := help
.PHONY: help lab lecture reset test verify lint notebooks binder-check links slides site bench weights lock env
